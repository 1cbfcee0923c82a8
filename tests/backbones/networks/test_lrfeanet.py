"""LRF-EANet: the dilations of its trunk, its patches in 2D and 3D, its output layer."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import LRFEANet
from tests.foreign import SMALL, backbone


def test_the_published_stages():
    with torch.device("meta"):
        net = LRFEANet(2, 3, 2)
    rates = [[block.aggregate.conv.dilation[0] for block in stage.blocks] for stage in net.encoder.stages]
    assert rates == [[1], [1] * 5, [1] * 5, [1, 1, 2] * 6, [1, 2, 4, 8]]
    assert [m.num_groups for m in net.encoder.downs[4].modules() if isinstance(m, torch.nn.GroupNorm)] == [32]
    assert net.size_divisor == [16, 16]


@pytest.mark.parametrize(("dims", "pixels"), [(2, 4), (3, 8)])
def test_a_patch_becomes_as_many_channels_as_it_has_pixels(dims, pixels):
    net = backbone("lrfeanet", dims)
    assert net.encoder.downs[1].merge.out_channels == pixels * net.encoder.downs[1].merge.in_channels
    split = net.decoder.ups[0]
    assert split.expand.conv.out_channels == split.split.in_channels == pixels * net.latent_channels


def test_its_logits_are_interpolated_by_four():
    net = backbone("lrfeanet", 2).eval()
    x = torch.randn(1, net.feature_channels[-1], 4, 6)
    assert net.output_layer().up(x).shape[2:] == (8, 12)
    assert net.output_layer()(x).shape[2:] == (32, 48)
    with pytest.raises(ValueError, match="interpolated by 4 without a learned layer"):
        net.require("denoise", "DDPM")


def test_other_numbers_of_stages_are_refused():
    with pytest.raises(ValueError, match="channels has 4 stages and dilations 5; expected five"):
        LRFEANet(2, 1, 2, **{**SMALL["lrfeanet"], "channels": [4, 4, 4, 8]})
