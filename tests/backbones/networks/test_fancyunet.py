"""FancyUNet passes on what came from below."""

import pytest
import torch

from flemme_monai import backbones
from flemme_monai.backbones.networks import FancyUNet
from flemme_monai.backbones.networks.fancyunet import DenseConvs


def test_new_channels_stand_last():
    x = torch.randn(1, 3, 4, 4)
    out = DenseConvs(2, 3, 2, None, "relu")(x)
    assert out.shape == (1, 5, 4, 4)
    assert torch.equal(out[:, :3], x)


def test_a_level_passes_on_what_came_from_below_and_not_the_encoder_s_feature():
    net = FancyUNet(2, 1, 2, channels=2, depth=3, norm=None).eval()
    for parameter in net.decoder.stages[0].parameters():
        torch.nn.init.zeros_(parameter)  # this level adds zeros
    seen = []
    net.decoder.ups[0].register_forward_hook(lambda module, args, out: seen.append(out))
    net.decoder.ups[1].up.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(torch.randn(1, 1, 16, 16))
    below, passed = seen
    assert below.abs().max() > 0
    assert torch.equal(passed, torch.cat([below, torch.zeros_like(below)], 1))


def test_networks_are_found_among_the_backbones():
    assert backbones.FancyUNet is FancyUNet
    with pytest.raises(AttributeError, match=r"'flemme_monai\.backbones' has no attribute 'FancyNet'"):
        _ = backbones.FancyNet


def test_every_level_adds_its_channels_to_what_it_passes_on():
    net = FancyUNet(2, 1, 2)
    assert [up.channels for up in net.decoder.ups] == [96, 192, 288, 384, 480]
    assert net.decoder.feature_channels == [720] * 5
