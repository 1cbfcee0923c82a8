"""Blocks: what each setting does, and what it refuses."""

from __future__ import annotations

import re

import pytest
import torch

from flemme_monai.backbones import ConvFamily, SwinFamily
from flemme_monai.blocks import (
    ChannelLayerNorm,
    ConvBlock,
    InterpolateDown,
    InterpolateUp,
    Linear,
    PatchExpand,
    PoolDown,
    PositionEmbedding,
    SpatialSelfAttention,
    StridedConv,
    TransposedConv,
    make_norm,
)
from tests.networks import DIMS, backbone, image


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize(
    "settings",
    [
        {"block": "conv"},
        {"block": "double_conv"},
        {"block": "res_conv"},
        {"norm": "batch"},
        {"norm": "group", "num_groups": 4},
        {"norm": "instance"},
        {"norm": "layer"},
        {"norm": None},
        {"act": "gelu"},
        {"act": ["leakyrelu", {"negative_slope": 0.2}]},
        {"kernel_size": 5},
        {"depthwise": True},
        {"dropout": 0.5},
        {"channel_attention": "ca"},
        {"channel_attention": "eca"},
        {"channel_attention": [None, "ca", "eca"]},
        {"self_attention": [False, False, True]},
        {"down_mode": "max", "up_mode": "interpolate"},
        {"down_mode": "avg"},
        {"down_mode": "interpolate"},
    ],
    ids=str,
)
def test_every_setting_of_the_conv_family_trains(settings, dims):
    net = backbone("UNet", dims, family=ConvFamily(**settings))
    net(image(dims)).output.mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize(
    "settings",
    [
        {"block": "swin"},
        {"block": "double_swin"},
        {"block": "res_swin"},
        {"up_mode": "conv"},
        {"window_size": 3},
        {"num_heads": [1, 2, 4]},
        {"mlp_ratio": 2.0},
        {"act": "relu"},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_setting_of_the_swin_family_trains(settings, dims):
    net = backbone("SwinU", dims, family=SwinFamily(**{"window_size": 2, "num_heads": 2, **settings}))
    net(image(dims)).output.mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvFamily(block="dense"), "block is 'dense'; expected one of conv, double_conv, res_conv"),
        (lambda: ConvFamily(down_mode="pool"), "down_mode is 'pool'"),
        (lambda: ConvFamily(up_mode="max"), "up_mode is 'max'"),
        (lambda: SwinFamily(block="vit"), "block is 'vit'; expected one of swin, double_swin, res_swin"),
        (lambda: SwinFamily(up_mode="max"), "up_mode is 'max'"),
        (lambda: backbone("UNet", 2, family=ConvFamily(channel_attention="se")), "channel_attention is 'se'"),
        (lambda: backbone("UNet", 2, family=ConvFamily(norm="spectral")), "norm is 'spectral'; expected one of"),
        (
            lambda: backbone("UNet", 2, family=ConvFamily(norm="group", num_groups=3)),
            "num_groups is 3; expected a divisor of the 8",
        ),
        (lambda: backbone("SwinU", 2, family=SwinFamily(num_heads=3)), "num_heads is 3; expected a divisor of the 8"),
        (lambda: backbone("SwinU", 2, family=SwinFamily(window_size=[4, 4, 4])), "window_size is [4, 4, 4]; expected"),
        (lambda: backbone("SwinU", 2, family=SwinFamily(window_size=1)), "a number above 1"),
        (lambda: ConvBlock(2, 1, 1, kernel_size=2), "kernel_size is 2; expected an odd number"),
        (lambda: SpatialSelfAttention(2, 6, num_heads=4), "num_heads is 4; expected a divisor of the 6"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("stride", [(1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize("make", [StridedConv, PoolDown, InterpolateDown])
def test_down_divides_the_size_by_its_stride(make, stride):
    x = torch.randn(1, 3, 12, 24)
    assert make(2, 3, 5, stride)(x).shape == (1, 5, 12 // stride[0], 24 // stride[1])


@pytest.mark.parametrize("stride", [(1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize("make", [TransposedConv, InterpolateUp, PatchExpand])
def test_up_multiplies_the_size_by_its_stride(make, stride):
    x = torch.randn(1, 3, 4, 6)
    assert make(2, 3, 5, stride)(x).shape == (1, 5, 4 * stride[0], 6 * stride[1])


def test_the_fast_linear_layer_is_torchs():
    ours, torchs = Linear(6, 4), torch.nn.Linear(6, 4)
    ours.load_state_dict(torchs.state_dict())
    for shape in ((5, 6), (2, 3, 6), (2, 3, 4, 5, 6)):
        x = torch.randn(*shape)
        torch.testing.assert_close(ours(x), torchs(x))


def test_layer_norm_normalises_the_channels_of_every_position():
    out = ChannelLayerNorm(8)(3 + 5 * torch.randn(2, 8, 4, 4))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(1, unbiased=False), torch.ones(2, 4, 4), atol=1e-3, rtol=0)


def test_batch_norm_has_weights():
    assert len(list(make_norm("batch", 3, 4).parameters())) == 2


def test_a_position_embedding_is_added():
    embed = PositionEmbedding(2, 3)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(embed(x), x + embed.grid)
