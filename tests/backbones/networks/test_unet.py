"""What U-Nets of convolutions and pooling do besides the table."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import SCSENet, SimpleUNet
from flemme_monai.blocks.squeeze_excitation import ConcurrentGate
from tests.foreign import backbone


@pytest.mark.parametrize("up", ["interpolate", "conv"])
def test_every_stage_of_scsenet_ends_in_a_gate(up):
    net = backbone("scsenet", 2, up=up)
    stages = [*net.encoder.stages, *net.decoder.stages]
    assert len(stages) == 9
    assert all(isinstance(stage.blocks[-1], ConcurrentGate) for stage in stages)


def test_the_logits_of_an_image_do_not_know_the_batch():
    net, x = backbone("scsenet", 2).eval(), torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(net(x).output[:1], net(x[:1]).output)


def test_an_unknown_way_up_is_refused():
    with pytest.raises(ValueError, match="up is 'nearest'; expected one of interpolate, conv"):
        SCSENet(2, 1, 2, up="nearest")


def test_simpleunet_multiplies_its_skips():
    net, x = backbone("simpleunet", 2).eval(), torch.randn(1, 1, 32, 32)
    latent, skips = net.encode(x)
    scaled = net.decode(latent, [torch.zeros_like(skips[0]), *skips[1:]])
    # nothing but the norm's bias is left after the finest level
    assert torch.equal(scaled.features[-1], torch.zeros_like(scaled.features[-1]))
    assert not torch.equal(net.decode(latent, skips).output, scaled.output)


def test_simpleunet_has_norms_of_sixteen_channels_each():
    norms = [m for m in SimpleUNet(2, 3, 2).modules() if isinstance(m, torch.nn.GroupNorm)]
    assert [norm.num_channels // norm.num_groups for norm in norms] == [16] * 6
