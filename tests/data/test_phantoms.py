"""Phantoms stand in for a data set."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.data import phantoms


@pytest.mark.parametrize("size", [(64, 64), (48, 32), (32, 32, 24)])
@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_a_phantom_has_the_size_channels_and_classes_asked_for(size, in_channels: int, num_classes: int) -> None:
    cases = phantoms(len(size), in_channels, num_classes, size)
    for case in cases[:3]:
        assert case["image"].shape == (in_channels, *size)
        assert case["image"].dtype == torch.float32
        assert 0 <= case["image"].min() < case["image"].max() <= 1
        assert case["label"].unique().tolist() == list(range(num_classes))
    assert len({case["case"] for case in cases}) == len(cases)


def test_the_seed_decides() -> None:
    first, again, other = (phantoms(2, 1, 3, (32, 32), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first[5]["image"], again[5]["image"])
    assert not torch.equal(first[5]["image"], other[5]["image"])
    assert not torch.equal(first[5]["image"], first[6]["image"])


def test_brightness_alone_does_not_find_the_organs() -> None:
    cases = phantoms(2, 1, 2, (64, 64))
    image = torch.stack([case["image"].as_tensor() for case in cases])
    label = torch.stack([case["label"].as_tensor() for case in cases]) > 0
    dice = [
        2 * ((image > low) & (image < high) & label).sum() / (((image > low) & (image < high)).sum() + label.sum())
        for low in torch.linspace(0.2, 0.6, 9)
        for high in (0.6, 0.7, 0.8, 1.1)
    ]
    assert max(dice) < 0.8
