"""Gates on channels and positions."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks.squeeze_excitation import ChannelGate, ConcurrentGate, SpatialGate

SIZES = {2: (3, 5), 3: (3, 2, 4)}


@pytest.mark.parametrize("dims", [2, 3])
def test_both_gates_are_what_the_paper_says(dims):
    gate, x = ConcurrentGate(dims, 6, reduction=3), torch.randn(2, 6, *SIZES[dims])
    mlp, conv = gate.channel.mlp, gate.spatial.conv
    hidden = torch.relu(x.flatten(2).mean(-1) @ mlp.fc1.weight.T + mlp.fc1.bias)
    channel = torch.sigmoid(hidden @ mlp.fc2.weight.T + mlp.fc2.bias)
    spatial = torch.sigmoid(torch.einsum("bcn,c->bn", x.flatten(2), conv.weight.flatten()) + conv.bias)
    expected = x.flatten(2) * (channel[:, :, None] + spatial[:, None])
    torch.testing.assert_close(gate(x).flatten(2), expected)
    torch.testing.assert_close(torch.jit.script(gate)(x), gate(x))
    assert hidden.shape == (2, 2)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_gate_of_a_sample_does_not_know_the_others(dims):
    x = torch.randn(4, 6, *SIZES[dims])
    for gate in ChannelGate(dims, 6), SpatialGate(dims, 6), ConcurrentGate(dims, 6):
        torch.testing.assert_close(gate(x)[:1], gate(x[:1]))


def test_gates_stay_half_open_in_large_batches_of_large_images():
    x = torch.randn(8, 6, 32, 32)  # a softmax over all elements would close them
    for gate in ChannelGate(2, 6)(x), SpatialGate(2, 6)(x):
        assert 0.2 < gate.mean() < 0.8
