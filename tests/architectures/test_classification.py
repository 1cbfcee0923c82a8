"""The classification model: its features, what it refuses, and that it learns."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from flemme_monai.architectures import ClM
from flemme_monai.backbones import ConditioningConfig
from tests.networks import DIMS, PLAIN, backbone, image


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("encoder", PLAIN)
@pytest.mark.parametrize(
    ("settings", "points"), [({}, 1), ({"grid_size": 2}, 2), ({"grid_size": 2, "hidden": (12, 5), "dropout": 0.5}, 2)]
)
def test_features_are_what_the_linear_layer_sees(encoder, dims, settings, points):
    net = ClM(backbone(encoder, dims, out_channels=3), **settings).eval()
    x = image(dims)
    features = net.features(x)
    assert features.shape == (2, settings["hidden"][-1] if "hidden" in settings else 16 * points**dims)
    logits = net(x)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(logits, net.head(features))


def test_one_point_is_the_mean_over_all_positions():
    net = ClM(backbone("CNN", 2)).eval()
    x = image(2)
    latent, _ = net.backbone.encode(x)
    torch.testing.assert_close(net.features(x), net.norm(latent.mean((2, 3))))


def test_a_grid_tells_where_something_is_and_the_mean_does_not():
    for grid_size, knows in (1, False), (2, True):
        net = ClM(backbone("CNN", 2, patch_size=1, strides=1), grid_size).eval()
        net.backbone.encoder = Passing()
        net.norm = nn.Identity()
        left, right = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
        left[..., :4], right[..., 4:] = 1, 1
        assert torch.allclose(net.features(left), net.features(right)) != knows


class Passing(nn.Module):
    """The image is its latent."""

    def forward(self, x):
        return x, []


def test_a_classifier_has_no_decoder_to_train():
    net = ClM(backbone("CNN", 2))
    net(image(2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert not any("decoder" in name for name, _ in net.named_parameters())


def test_images_of_any_divisible_size_are_classified_by_the_same_weights():
    net = ClM(backbone("Swin", 2), grid_size=2, hidden=(8,)).eval()
    for size in (8, 8), (16, 40):
        assert net(torch.rand(1, 1, *size)).shape == (1, 2)


def test_dropout_is_for_training_only():
    net = ClM(backbone("ViT", 2), hidden=(32,), dropout=0.5)
    x = image(2)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"latent_size": 4}, {}, "latent_size has no use in a ClM"),
        (
            {"conditioning": ConditioningConfig(context="class", context_size=2, side="decoder", channels=8)},
            {},
            "side='decoder' has no use in a ClM",
        ),
        ({}, {"grid_size": 0}, "grid_size is 0; expected 1"),
        ({}, {"dropout": 1.5}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_settings_without_use_are_refused(settings, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ClM(backbone("CNN", 2, **settings), **options)


@pytest.mark.parametrize("encoder", PLAIN)
@pytest.mark.parametrize("settings", [{}, {"grid_size": 2, "hidden": (8,)}])
def test_it_learns_which_way_stripes_go(encoder, settings):
    """The third class: neither."""
    label = torch.arange(24) % 3
    x = 0.1 * torch.randn(24, 1, 16, 16)
    x[label == 0, :, ::2] += 1
    x[label == 1, ..., ::2] += 1
    net = ClM(backbone(encoder, 2, out_channels=3), **settings)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=50)
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), label).backward()
        optimizer.step()
        schedule.step()
    assert (net.eval()(x).argmax(1) == label).float().mean() > 0.9
