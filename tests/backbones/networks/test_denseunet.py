"""DenseUNet: the trunk's features are added, and the last values are dropped before their norm."""

from __future__ import annotations

import torch

from tests.foreign import backbone, image


def test_features_are_added_and_not_concatenated():
    net = backbone("denseunet", 2).eval()
    latent, skips = net.encode(image(net))
    up = torch.nn.functional.interpolate(latent, scale_factor=2)
    first = net.decoder.stages[0](up + net.decoder.fuses[0].proj(skips[-1]))
    torch.testing.assert_close(net.decode(latent, skips).features[0], first)
    second = net.decoder.stages[1](torch.nn.functional.interpolate(first, scale_factor=2) + skips[-2])
    torch.testing.assert_close(net.decode(latent, skips).features[1], second)


def test_widths_are_those_of_the_features_that_come_next():
    net = backbone("denseunet", 2)
    stem, *blocks = net.encoder.feature_channels
    assert net.feature_channels == [blocks[1], blocks[0], stem, stem, 4]


def test_values_are_dropped_before_the_last_norm_in_training():
    net = backbone("denseunet", 2, dropout=0.5)
    assert [name for name, _ in net.decoder.stages[-1].blocks[0].named_children()] == ["conv", "dropout", "norm", "act"]
    x = image(net)
    assert not torch.equal(net(x).output, net(x).output)
    assert torch.equal(net.eval()(x).output, net(x).output)
