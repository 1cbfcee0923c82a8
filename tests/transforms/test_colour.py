"""Random colours."""

from __future__ import annotations

import math

import pytest
import torch

from flemme_monai.transforms import RandHueSaturationd
from flemme_monai.transforms.colour import colour_matrix


def test_a_third_of_a_turn_makes_green_of_red() -> None:
    torch.testing.assert_close(colour_matrix(2 * math.pi / 3, 1.0), torch.eye(3)[[2, 0, 1]], atol=1e-6, rtol=0)
    torch.testing.assert_close(colour_matrix(0.0, 1.0), torch.eye(3))


def test_without_saturation_all_is_grey_and_grey_stays() -> None:
    torch.testing.assert_close(colour_matrix(0.4, 0.0), torch.full((3, 3), 1 / 3))
    grey = torch.full((3,), 0.7)
    torch.testing.assert_close(colour_matrix(0.4, 1.3) @ grey, grey)
    red = torch.tensor([0.9, 0.0, 0.0])
    torch.testing.assert_close(colour_matrix(0.0, 0.5) @ red, 0.5 * red + 0.15)


def test_probabilities_decide() -> None:
    image = torch.randn(3, 8, 8)
    never = RandHueSaturationd("image").set_random_state(0)
    assert torch.equal(never({"image": image})["image"], image)
    hue, saturation = RandHueSaturationd("image", hue_prob=1.0), RandHueSaturationd("image", saturation_prob=1.0)
    distance = (image - image.mean(0)).norm(dim=0)
    for seed in range(5):
        turned = hue.set_random_state(seed)({"image": image})["image"]
        moved = saturation.set_random_state(seed)({"image": image})["image"]
        torch.testing.assert_close((turned - turned.mean(0)).norm(dim=0), distance)
        ratio = (moved - moved.mean(0)).norm(dim=0) / distance
        assert ratio.std() < 1e-4
        assert 0.5 <= ratio.mean() <= 1.5
    assert not torch.allclose(turned, image)


def test_a_grey_image_is_refused() -> None:
    with pytest.raises(ValueError, match="image has 1 channel; expected 3"):
        RandHueSaturationd("image", hue_prob=1.0)({"image": torch.rand(1, 8, 8)})


def test_factors_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="min_saturation is 2"):
        RandHueSaturationd("image", min_saturation=2)
