"""Interpolation between four corners."""

from __future__ import annotations

import pytest
import torch
from image_files import random_picture, write_picture
from torch import nn

from flemme_monai.diffusion.interpolation import ImageInterpolation, SeedInterpolation, corners
from flemme_monai.diffusion.noise import initial_noise
from flemme_monai.inferers import InterpolationInferer
from flemme_monai.transforms import LoadImageAndLabeld


def test_a_square_has_its_corners_and_their_mean_in_the_middle() -> None:
    points = corners([torch.tensor([x, y]) for y in (0.0, 1.0) for x in (0.0, 1.0)], 3)
    assert points.tolist() == [[x, y] for y in (0.0, 0.5, 1.0) for x in (0.0, 0.5, 1.0)]


def test_four_seeds_are_the_corners_and_norms_are_kept() -> None:
    data = SeedInterpolation([3, 5, 7, 9], 9, (1, 8, 8))
    for place, seed in ((0, 3), (2, 5), (6, 7), (8, 9)):
        torch.testing.assert_close(data.noise(place), initial_noise((1, 8, 8), seed))
    norms = data.noises.flatten(1).norm(dim=1)
    assert norms.min() > 0.8 * norms.max()
    with pytest.raises(ValueError, match="num_samples is 8; expected a square"):
        SeedInterpolation([3, 5, 7, 9], 8, (1, 8, 8))
    with pytest.raises(ValueError, match="or four of them"):
        SeedInterpolation([3, 5, 7], 9, (1, 8, 8))


class Identity(nn.Module):
    """An autoencoder whose latents are the images."""

    def encode(self, images, context):
        return images

    def decode(self, latents, context):
        return latents


def test_four_images_are_blended_by_their_places(tmp_path) -> None:
    paths = [str(write_picture(tmp_path / f"{i}.png", random_picture(i, size=(4, 4)))) for i in range(4)]
    data = ImageInterpolation(paths, 9, LoadImageAndLabeld(1), 2)
    items = [data[i] for i in range(9)]
    images, other, weight = (
        torch.stack([torch.as_tensor(i[key]) for i in items]) for key in ("image", "other", "weight")
    )
    blended = InterpolationInferer()(images, Identity(), other, weight)
    for place, corner in ((0, images[0]), (2, other[0, 0]), (6, other[0, 1]), (8, other[0, 2])):
        torch.testing.assert_close(blended[place], corner)
    torch.testing.assert_close(blended[4], torch.stack([images[0], *other[0]]).mean(0))
