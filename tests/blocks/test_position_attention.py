"""Attention among positions and among channels against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks.position_attention import ChannelAffinity, PositionAttention, ScaledResidual

SIZES = {2: (3, 5), 3: (3, 2, 4)}


def by_loops(attention: PositionAttention, x: torch.Tensor, scale: float) -> torch.Tensor:
    """softmax(scale * query . key) over the keys, position by position."""
    query, value = attention.query(x).flatten(2), attention.value(x).flatten(2)
    key = query if attention.key is None else attention.key(x).flatten(2)
    out = torch.zeros_like(value)
    for b in range(x.shape[0]):
        for i in range(query.shape[-1]):
            energy = torch.stack([scale * (query[b, :, i] * key[b, :, j]).sum() for j in range(key.shape[-1])])
            weights = energy.exp() / energy.exp().sum()
            out[b, :, i] = sum(weights[j] * value[b, :, j] for j in range(key.shape[-1]))
    return out.view(x.shape[0], -1, *x.shape[2:])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("paper", ["danet", "csnet", "ocnet"])
def test_positions_attend_as_the_formula_says(paper, dims):
    settings = {
        "danet": {},
        "csnet": {"query_kernel": [1, 1, 3][-dims:], "key_kernel": [3, 1, 1][:dims], "norm": "batch", "act": "relu"},
        "ocnet": {"value_channels": 3, "norm": "batch", "act": "relu", "shared": True, "scaled": True},
    }[paper]
    net, x = PositionAttention(dims, 8, 4, **settings).eval(), torch.randn(2, 8, *SIZES[dims])
    expected = by_loops(net, x, scale=0.5 if paper == "ocnet" else 1.0)
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(torch.jit.script(net)(x), expected)
    assert net(x).shape[1] == settings.get("value_channels", 8)


def test_published_widths_have_published_counts():
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert count(PositionAttention(2, 512, 64)) == 2 * (512 * 64 + 64) + 512 * 512 + 512
    assert count(PositionAttention(2, 512, 256, 256, norm="batch", act="relu", shared=True)) == 2 * 512 * 256 + 3 * 256


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_attend_to_unlike_channels_most(dims):
    x = torch.randn(2, 5, *SIZES[dims])
    rows = x.flatten(2)
    energy = torch.einsum("bin,bjn->bij", rows, rows)
    weights = torch.softmax(-energy, -1)  # the maximum of a row cancels
    expected = torch.einsum("bij,bjn->bin", weights, rows).view(x.shape)
    torch.testing.assert_close(ChannelAffinity()(x), expected)
    torch.testing.assert_close(torch.jit.script(ChannelAffinity())(x), expected)


def test_a_channel_takes_its_opposite_and_not_itself():
    plane = torch.randn(1, 1, 16, 16)
    out = ChannelAffinity()(torch.cat([plane, -plane], 1))  # softmax(E) would give both back as they are
    torch.testing.assert_close(out, torch.cat([-plane, plane], 1))


def test_sums_over_many_positions_pass_what_half_precision_holds():
    x = 100 * torch.ones(1, 2, 64, 64)  # E is 4e7
    with torch.autocast("cpu", torch.float16):
        assert ChannelAffinity()(x).isfinite().all()


def test_the_residual_begins_as_its_input_and_learns_its_factor():
    net, x = ScaledResidual(PositionAttention(2, 8, 4)), torch.randn(1, 8, 4, 4)
    assert torch.equal(net(x), x)
    net(x).square().sum().backward()
    assert net.gamma.grad.abs() > 0
    nn.init.constant_(net.gamma, 0.5)
    torch.testing.assert_close(net(x), x + 0.5 * net.branch(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query_kernel": [1, 2]}, r"kernel size is \[1, 2\]; expected odd"),
        ({"query_kernel": 3, "shared": True}, "query_kernel is 3 and key_kernel 1; expected one size"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PositionAttention(2, 8, 4, **settings)
