"""Window attention: windows, shifts, padding and masks."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.swin_unetr import WindowAttention as MonaiWindowAttention

from flemme_monai.backbones.sequence import heads_of_32
from flemme_monai.blocks import SwinBlock, WindowAttention
from flemme_monai.blocks.swin import attention_regions, window_merge, window_partition


@pytest.mark.parametrize(("size", "window"), [([4, 6], [2, 3]), ([4, 6, 8], [2, 3, 4])])
def test_merging_undoes_partitioning(size, window):
    x = torch.randn(2, *size, 5)
    assert torch.equal(window_merge(window_partition(x, window), window, size), x)


def test_a_window_holds_neighbours():
    x = torch.arange(16.0).view(1, 4, 4, 1)
    assert window_partition(x, [2, 2])[0, :, :, 0].tolist()[0] == [0, 1, 4, 5]


@pytest.mark.parametrize(("dims", "window"), [(2, (4, 4)), (3, (2, 4, 3))])
def test_it_equals_monais_window_attention(dims, window):
    ours = WindowAttention(dims, 8, 2, window, shift=False)
    monais = MonaiWindowAttention(8, 2, window, qkv_bias=True)
    monais.load_state_dict(
        {
            "relative_position_bias_table": ours.position_bias,
            **{f"{n}.{w}": getattr(getattr(ours, n), w) for n in ("qkv", "proj") for w in ("weight", "bias")},
        },
        strict=False,
    )
    x = torch.randn(2, *window, 8)
    expected = monais(x.flatten(1, -2), None).view_as(x)
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (6, 10), (3, 9), (2, 2)])
def test_a_token_sees_only_its_neighbours_and_never_padding(size, shift):
    """The tokens that one output depends on, from its gradient, are those of its own window of the plane."""
    window = 4
    block = WindowAttention(2, 4, 2, (window, window), shift)
    x = torch.randn(1, *size, 4, requires_grad=True)
    out = block(x)
    effective = [min(window, n) for n in size]
    offset = [w // 2 if shift and n > w else 0 for w, n in zip(effective, size)]
    for i in range(size[0]):
        for j in range(size[1]):
            (grad,) = torch.autograd.grad(out[0, i, j].sum(), x, retain_graph=True)
            seen = grad[0].abs().sum(-1) > 0
            # shifted by half a window, the plane is cut at offset, offset + window, ...
            expected = torch.tensor(
                [
                    [
                        all((p - o) // w == (q - o) // w for p, q, o, w in zip((i, j), (k, m), offset, effective))
                        for m in range(size[1])
                    ]
                    for k in range(size[0])
                ]
            )
            assert torch.equal(seen, expected)


def test_padding_gets_a_region_of_its_own():
    region = attention_regions([3], [4], [4], [0], torch.device("cpu"))
    assert len(set(region[0, :3].tolist())) == 1
    assert region[0, 3] not in region[0, :3]


@pytest.mark.parametrize(("channels", "heads"), [(16, 1), (64, 2), (96, 3), (100, 2), (33, 1)])
def test_heads_are_32_channels_wide_or_the_next_that_fit(channels, heads):
    assert heads_of_32(channels) == heads


def test_no_token_is_left_without_a_partner():
    out = SwinBlock(2, 4, 2, (4, 4), shift=True)(torch.randn(1, 5, 7, 4))
    assert out.isfinite().all()


def test_attention_weights_in_bfloat16_are_finite():
    block = SwinBlock(2, 8, 2, (4, 4), shift=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(torch.randn(1, 10, 6, 8))
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (4, 20), (3, 5), (9, 30), (5, 4, 9), (2, 8, 3)])
def test_tables_of_exported_windows_give_the_same(size, shift):
    dims = len(size)
    attention = WindowAttention(dims, 8, 2, [8 if dims == 2 else 4] * dims, shift).eval()
    torch.nn.init.normal_(attention.position_bias)
    x = torch.randn(2, *size, 8)
    torch.testing.assert_close(attention._exported(x), attention(x))
