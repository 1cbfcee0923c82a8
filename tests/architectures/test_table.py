"""What every encoder promises in every architecture, in 2D and 3D."""

from __future__ import annotations

import io

import pytest
import torch

from tests.networks import CORE, HIERARCHICAL, SIZES, TABLE, inputs, network, table, tensors

pytestmark = pytest.mark.parametrize(("architecture", "encoder", "dims"), table(TABLE, CORE))


def test_the_output_has_the_image_size(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    size = () if architecture == "ClM" else SIZES[dims]
    assert net(*inputs(architecture, dims)).shape == (2, 2, *size)


def test_a_list_is_returned_in_training_only(architecture, encoder, dims):
    net = network(architecture, encoder, dims)
    x = inputs(architecture, dims)
    assert isinstance(net.train()(*x), list) == (architecture in (*HIERARCHICAL, "VAE"))
    assert isinstance(net.eval()(*x), torch.Tensor)


def test_gradients_reach_every_parameter(architecture, encoder, dims):
    net = network(architecture, encoder, dims)
    sum(t.square().mean() for t in tensors(net(*inputs(architecture, dims)))).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_any_divisible_size_works(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    for size in ((40, 8), (8, 32)) if dims == 2 else ((8, 24, 8), (24, 8, 16)):
        assert net(*inputs(architecture, dims, size)).shape == (2, 2, *(() if architecture == "ClM" else size))


def test_evaluation_is_deterministic(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    x = inputs(architecture, dims)
    assert torch.equal(net(*x), net(*x))


def test_saved_weights_give_the_same_output(architecture, encoder, dims):
    net, other = network(architecture, encoder, dims), network(architecture, encoder, dims)
    file = io.BytesIO()
    torch.save(net.train().state_dict(), file)
    file.seek(0)
    other.eval().load_state_dict(torch.load(file, weights_only=True))
    x = inputs(architecture, dims)
    assert torch.equal(net.eval()(*x), other(*x))


def test_scripting_keeps_the_numbers_at_another_size(architecture, encoder, dims):
    net = network(architecture, encoder, dims).eval()
    scripted = torch.jit.script(net)
    x = inputs(architecture, dims, (24, 8) if dims == 2 else (8, 16, 8))
    torch.testing.assert_close(scripted(*x), net(*x))
