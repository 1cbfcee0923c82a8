"""How a decoder takes a feature of the encoder in."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.attentionunet import AttentionBlock
from torch import nn

from flemme_monai.backbones.fuses import Add, AttentionGate, Cat, CatUp, Multiply

SIZES = {2: (3, 5), 3: (3, 2, 4)}


@pytest.mark.parametrize("dims", [2, 3])
def test_sums_products_and_channels_side_by_side(dims):
    x, skip = torch.randn(2, 2, 4, *SIZES[dims])
    for fuse, expected in (Add(), x + skip), (Multiply(), x * skip), (Cat(), torch.cat([skip, x], 1)):
        assert torch.equal(fuse(x, skip), expected)
        assert torch.equal(torch.jit.script(fuse)(x, skip), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_side_by_side_at_twice_the_resolution(dims):
    x, skip = torch.randn(2, 3, *[4] * dims), torch.randn(2, 2, *[4] * dims)
    mode = "bilinear" if dims == 2 else "trilinear"
    expected = [torch.nn.functional.interpolate(part, scale_factor=2, mode=mode) for part in (skip, x)]
    torch.testing.assert_close(CatUp()(x, skip), torch.cat(expected, 1))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_gate_weighs_positions_of_the_skip_by_both(dims):
    x, skip = torch.randn(2, 3, *SIZES[dims]), torch.randn(2, 4, *SIZES[dims])
    gate = AttentionGate(dims, 3, 4, 2, norm=None)
    maps = [
        torch.einsum("bcn,oc->bon", t.flatten(2), conv.conv.weight.flatten(1)) + conv.conv.bias[:, None]
        for t, conv in ((x, gate.signal), (skip, gate.skip))
    ]
    psi = gate.psi.conv
    open_by = torch.sigmoid(torch.einsum("bcn,oc->bon", sum(maps).relu(), psi.weight.flatten(1)) + psi.bias)
    found = gate(x, skip)
    torch.testing.assert_close(found[:, :4].flatten(2), skip.flatten(2) * open_by)
    assert torch.equal(found[:, 4:], x)
    torch.testing.assert_close(torch.jit.script(gate)(x, skip), found)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_gate_has_the_numbers_of_monai_s(dims):
    gate, other = AttentionGate(dims, 3, 4, 2).eval(), AttentionBlock(dims, f_int=2, f_g=3, f_l=4).eval()
    for ours, theirs in ((gate.signal, other.W_g), (gate.skip, other.W_x), (gate.psi, other.psi)):
        conv, norm = theirs[0].conv, theirs[1]
        nn.init.zeros_(conv.bias)  # which the norm would take away
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.weight)
        ours.conv.load_state_dict({"weight": conv.weight})
        ours.norm.load_state_dict(norm.state_dict())
    x, skip = torch.randn(2, 3, *SIZES[dims]), torch.randn(2, 4, *SIZES[dims])
    torch.testing.assert_close(gate(x, skip)[:, :4], other(x, skip))


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", None])
def test_no_norm_fixes_how_far_a_gate_is_open_on_every_image(norm):
    gate = AttentionGate(2, 8, 8, 8, norm=norm).eval()
    nn.init.constant_(gate.psi.conv.weight, 10.0)  # an instance norm would take the mean of the hidden channels away
    nn.init.constant_(gate.skip[0].weight, 1.0)
    opened = gate(torch.rand(2, 8, 8, 8), torch.rand(2, 8, 8, 8))[:, :8]
    assert opened.flatten(1).mean(1).min() > 0.4
