"""MedNeXt: MONAI's network is the U-shaped encoder-decoder whose concatenations add."""

from __future__ import annotations

import re

import pytest
import torch
from monai.networks.nets.mednext import create_mednext
from torch import nn

from flemme_monai.backbones import MedNeXtFamily, MedNeXtU
from flemme_monai.blocks import MedNeXtDown, MedNeXtUp

SIZES = {  # as published: blocks of each level, and their expansions
    "S": (2, 2),
    "B": (2, (2, 3, 4, 4, 4)),
    "M": ((3, 4, 4, 4, 4), (2, 3, 4, 4, 4)),
    "L": ((3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
}
PUBLISHED = {"S": 5_550_914, "B": 10_510_850, "M": 17_533_506, "L": 61_726_754}
CONCATENATIONS = sum(2 * c * c + c for c in (32, 64, 128, 256))  # 1x1 convolutions where MONAI's adds


def _mednext(spatial_dims: int, size: str, kernel_size: int = 3) -> MedNeXtU:
    blocks, expansion = SIZES[size]
    family = MedNeXtFamily(kernel_size=kernel_size, expansion=expansion)
    return MedNeXtU(spatial_dims, 1, 2, family, 1, 32, (32, 64, 128, 256), (512,), num_blocks=blocks)


@pytest.mark.parametrize("size", SIZES)
def test_the_published_sizes_are_settings(size):
    with torch.device("meta"):
        net = _mednext(3, size)
    assert sum(p.numel() for p in net.parameters()) == PUBLISHED[size] + CONCATENATIONS


@pytest.mark.parametrize(("size", "dims", "kernel_size"), [("S", 2, 3), ("S", 3, 3), ("S", 2, 5), ("B", 2, 3)])
def test_the_numbers_are_those_of_monai(size, dims, kernel_size):
    other = create_mednext(size, dims, 1, 2, kernel_size).eval()
    net = _mednext(dims, size, kernel_size).eval()
    for parameter in other.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    missing, unexpected = net.load_state_dict(_renamed(other.state_dict()), strict=False)
    assert unexpected == []
    for key in missing:
        assert re.fullmatch(r"decoder\.stages\.\d\.blocks\.0\.(weight|bias)", key)
    for stage in net.decoder.stages:
        _add_instead(stage.blocks[0])
    x = torch.randn(1, 1, *([32] * dims))
    with torch.no_grad():
        torch.testing.assert_close(net(x).output, other(x), atol=1e-4, rtol=1e-4)


def _add_instead(proj: nn.Module) -> None:
    """Make the sum of two features of a 1x1 convolution of their concatenation."""
    half = torch.eye(proj.out_channels)
    with torch.no_grad():
        proj.weight.copy_(torch.cat([half, half], 1).view_as(proj.weight))
        proj.bias.zero_()


def _renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of MONAI's network under our names."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in weights.items():
        if key == "dummy_tensor":
            continue
        key = re.sub(r"dec_stages\.(\d+)\.(\d+)", lambda m: f"decoder.stages.{m[1]}.blocks.{int(m[2]) + 1}", key)
        for pattern, name in (
            (r"^stem\.", "encoder.patch_embedding.conv."),
            (r"enc_stages\.(\d+)\.(\d+)", r"encoder.stages.\1.blocks.\2"),
            (r"down_blocks", "encoder.down"),
            (r"bottleneck\.(\d+)", r"encoder.middle.0.blocks.\1"),
            (r"up_blocks", "decoder.up"),
            (r"out_0\.conv_out", "decoder.output_layer.conv"),
            (r"conv1", "body.depthwise"),
            (r"norm", "body.norm"),
            (r"conv2", "body.expand"),
            (r"conv3", "body.reduce"),
            (r"res_conv", "shortcut"),
        ):
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed


@pytest.mark.parametrize("stride", [[2, 1, 2], [1, 2, 3], [4, 4, 1]])
def test_relatives_change_the_size_by_the_stride_of_each_axis(stride):
    small, large = (2, 3, 4), tuple(n * s for n, s in zip((2, 3, 4), stride))
    assert MedNeXtDown(3, 4, 6, 3, 2, stride)(torch.randn(1, 4, *large)).shape == (1, 6, *small)
    assert MedNeXtUp(3, 4, 6, 3, 2, stride)(torch.randn(1, 4, *small)).shape == (1, 6, *large)


def test_a_strided_block_sees_every_position():
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    MedNeXtDown(2, 2, 2, 3, 2, [4, 4])(x).square().sum().backward()
    assert bool((x.grad != 0).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 4}, "kernel_size is 4; expected an odd"),
        ({"expansion": 0}, "expansion is 0; expected"),
        ({"expansion": (2, 2.5)}, "one per level"),
    ],
)
def test_settings_that_are_none_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MedNeXtFamily(**settings)


def test_an_expansion_per_level_needs_one_for_each():
    with pytest.raises(ValueError, match="expansion has 2 values"):
        MedNeXtU(2, 1, 2, MedNeXtFamily(expansion=(2, 3)))
