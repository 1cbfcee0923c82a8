"""The trunk DenseNet: sizes as published, every layer sees all before it, weights by torchvision's names."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.encoder_weights import load_encoder_weights, renamed
from flemme_monai.backbones.extractors.densenet import DenseLayer, DenseNetEncoder

# trainable parameters of torchvision's without their classifier
PUBLISHED = {(96, 48, (6, 12, 36, 24)): 26_472_000, (64, 32, (6, 12, 24, 16)): 6_953_856}
NAMES = {
    "features.conv0.weight": "stages.0.blocks.0.conv0.weight",
    "features.norm0.running_mean": "stages.0.blocks.0.norm0.running_mean",
    "features.denseblock1.denselayer1.norm1.weight": "stages.1.blocks.0.norm1.weight",
    "features.denseblock2.denselayer1.norm.2.bias": "stages.2.blocks.0.norm2.bias",
    "features.denseblock4.denselayer2.conv.1.weight": "stages.4.blocks.1.conv1.weight",
    "features.transition1.norm.weight": "downs.2.norm.weight",
    "features.transition3.conv.weight": "downs.4.conv.weight",
    "features.norm5.bias": "stages.4.blocks.2.norm5.bias",
}


def small() -> DenseNetEncoder:
    return DenseNetEncoder(2, 3, 4, 2, (1, 2, 1, 2))


@pytest.mark.parametrize(("settings", "parameters"), PUBLISHED.items())
def test_the_size_is_the_published_one(settings, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in DenseNetEncoder(2, 3, *settings).parameters()) == parameters


def test_torchvisions_names_are_its_own_old_and_new():
    net = small()
    found = renamed(dict.fromkeys(NAMES, torch.ones(1)), net.weight_names)
    assert list(found) == list(NAMES.values())
    assert set(NAMES.values()) <= net.state_dict().keys()


def test_a_layer_adds_channels_and_leaves_those_that_it_sees():
    layer, x = DenseLayer(2, 4, 3, 2, "batch", "relu"), torch.randn(2, 4, 5, 5)
    out = layer(x)
    assert out.shape == (2, 7, 5, 5)
    assert torch.equal(out[:, :4], x)


def test_features_are_those_of_the_stem_and_of_the_blocks():
    net = small().eval()
    latent, skips = net(torch.randn(1, 3, 64, 32))
    assert [skip.shape[1] for skip in skips] + [latent.shape[1]] == net.feature_channels
    assert [64 // skip.shape[2] for skip in [*skips, latent]] == [2, 4, 8, 16, 32]
    assert latent.min() >= 0


@pytest.mark.parametrize("package", ["torchvision.models", "timm"])
def test_published_weights_give_their_features(package, tmp_path):
    module = pytest.importorskip(package, exc_type=ImportError)
    there = module.densenet121(weights=None) if package != "timm" else module.create_model("densenet121")
    torch.save(there.eval().state_dict(), tmp_path / "densenet121.pth")
    net, x = DenseNetEncoder(2, 3, *list(PUBLISHED)[1]).eval(), torch.randn(1, 3, 64, 96)
    load_encoder_weights(net, tmp_path / "densenet121.pth")
    torch.testing.assert_close(net(x)[0], there.features(x).relu(), rtol=1e-4, atol=1e-4)
