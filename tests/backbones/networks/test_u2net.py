"""U²-Net: its residual U-blocks; the maps that make the output are supervised, each as much as the output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks import linear_resize
from flemme_monai.blocks.rsu import ResidualUBlock
from tests.foreign import backbone, image


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_a_block_halves_the_resolution_down_to_its_last_two_levels():
    block = ResidualUBlock(2, 3, 4, 6, levels=7)
    assert sum(isinstance(m, nn.MaxPool2d) for m in block.modules()) == 5
    assert [c.dilation[0] for c in convolutions(block)] == [1] * 7 + [2] + [1] * 6


def test_a_block_without_pooling_dilates_instead():
    block = ResidualUBlock(2, 3, 4, 6, levels=4, pooling=False)
    assert not any(isinstance(m, nn.MaxPool2d) for m in block.modules())
    assert [c.dilation[0] for c in convolutions(block)] == [1, 1, 2, 4, 8, 4, 2, 1]


@pytest.mark.parametrize("size", [(32, 64), (13, 9)])
def test_a_block_adds_its_u_to_a_convolution_at_any_size(size):
    block, x = ResidualUBlock(2, 3, 4, 6, levels=4, norm=None), torch.randn(1, 3, *size)
    assert block(x).shape == (1, 6, *size)
    end = block.up[-1].conv
    nn.init.zeros_(end.weight)
    nn.init.zeros_(end.bias)
    torch.testing.assert_close(block(x), block.entry(x))


@pytest.mark.parametrize("key", ["u2net", "u2netsmall"])
def test_all_maps_are_supervised_with_the_weight_of_the_output(key):
    net = backbone(key, 2, deep_supervision=True)
    out = net(image(net))
    assert net.side_weights == [1.0] * 6
    assert [64 // side.shape[2] for side in out.sides] == [1, 2, 4, 8, 16, 32]
    assert backbone(key, 2)(image(net)).sides == []


def test_the_output_is_the_fusion_of_all_maps_at_full_size():
    net = backbone("u2net", 2, deep_supervision=True, norm="instance")
    out = net(image(net))
    full = torch.cat([linear_resize(side, list(out.output.shape[2:])) for side in out.sides], 1)
    torch.testing.assert_close(out.output, net.decoder.output_layer(full))


def test_as_many_widths_as_stages():
    with pytest.raises(ValueError, match=r"decoder_channels is .*; expected 5 widths"):
        backbone("u2net", 2, decoder_channels=[2, 2])
