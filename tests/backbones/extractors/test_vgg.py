"""The trunk VGG: sizes and layers as published, weights by torchvision's names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.backbones.encoder_weights import load_encoder_weights
from flemme_monai.backbones.extractors.vgg import VGGEncoder

# trainable parameters of torchvision's without their classifier
PUBLISHED = {11: 9_220_480, 16: 14_714_688}
LAYERS = {11: "4 p 4 p 6 6 p 6 6 p 8 8 p", 16: "4 4 p 4 4 p 6 6 6 p 6 6 6 p 8 8 8 p"}
CHANNELS = (4, 4, 6, 6, 8)


class Reference(nn.Module):
    """Layers in a row, as torchvision numbers them."""

    def __init__(self, depth: int, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for word in LAYERS[depth].split():
            if word == "p":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(before, int(word), 3, padding=1))
            layers += [nn.BatchNorm2d(int(word))] * norm + [nn.ReLU()]
            before = int(word)
        self.features = nn.Sequential(*layers)


@pytest.mark.parametrize(("depth", "parameters"), PUBLISHED.items())
def test_the_size_is_the_published_one(depth, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in VGGEncoder(2, 3, depth).parameters()) == parameters


@pytest.mark.parametrize("depth", PUBLISHED)
@pytest.mark.parametrize("norm", [None, "batch"])
def test_published_weights_give_what_they_gave(depth, norm, tmp_path, caplog):
    torch.manual_seed(0)
    there = Reference(depth, norm is not None).eval()
    for module in there.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    torch.save(there.state_dict(), tmp_path / "vgg.pth")
    here = VGGEncoder(2, 3, depth, CHANNELS, norm).eval()
    caplog.set_level("INFO", logger="flemme_monai")
    load_encoder_weights(here, tmp_path / "vgg.pth")
    assert not [line for line in caplog.messages if "not" in line]
    x = torch.randn(2, 3, 32, 64)
    torch.testing.assert_close(here(x)[0], there.features(x))


def test_features_are_those_before_the_pools_or_the_pools_indices():
    net = VGGEncoder(2, 1, 11, CHANNELS).eval()
    latent, skips = net(torch.randn(1, 1, 64, 32))
    assert [tuple(skip.shape[1:]) for skip in skips] == [(c, 64 // 2**i, 32 // 2**i) for i, c in enumerate(CHANNELS)]
    torch.testing.assert_close(latent, nn.functional.max_pool2d(skips[-1], 2))
    indices = VGGEncoder(2, 1, 11, CHANNELS, keep_indices=True)(torch.randn(1, 1, 64, 32))[1]
    assert {skip.dtype for skip in indices} == {torch.int64}
    assert [skip.shape[2] for skip in indices] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize(("name", "value"), [("depth", 13), ("channels", (4, 4))])
def test_other_depths_and_numbers_of_widths_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; expected"):
        VGGEncoder(2, 1, **{name: value})


@pytest.mark.parametrize(("name", "depth", "norm"), [("vgg16", 16, None), ("vgg16_bn", 16, "batch")])
def test_torchvisions_weights_give_its_features(name, depth, norm, tmp_path):
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    there, here = getattr(models, name)(weights=None).eval(), VGGEncoder(2, 3, depth, norm=norm).eval()
    torch.save(there.state_dict(), tmp_path / "vgg.pth")
    load_encoder_weights(here, tmp_path / "vgg.pth")
    x = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(here(x)[0], there.features(x), rtol=1e-4, atol=1e-4)
