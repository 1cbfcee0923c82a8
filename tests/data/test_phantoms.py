"""Phantoms stand in for a data set."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.data import class_phantoms, phantoms, split_datalist


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


@pytest.mark.parametrize(("size", "in_channels"), [((32, 32), 1), ((24, 24, 24), 2)])
@pytest.mark.parametrize("num_classes", [2, 6, 100])
def test_each_class_has_as_many_phantoms(size, in_channels: int, num_classes: int) -> None:
    cases = class_phantoms(len(size), in_channels, num_classes, size)
    labels = torch.tensor([case["class_label"] for case in cases])
    counts = labels.bincount()
    assert len(counts) == num_classes
    assert counts.min() == counts.max() >= 3
    assert cases[0]["image"].shape == (in_channels, *size)
    assert "label" not in cases[0]
    assert len({case["case"] for case in cases}) == len(cases) >= len(phantoms(len(size), 1, 2, size))


def test_the_seed_decides_the_phantoms_of_classes() -> None:
    first, again, other = (class_phantoms(2, 1, 3, (32, 32), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first[5]["image"], again[5]["image"])
    assert not torch.equal(first[5]["image"], other[5]["image"])


def test_a_class_is_seen_in_its_image() -> None:
    split = split_datalist(None, "classification", 2, 1, 4, 32)
    parts = {}
    for part, cases in split.items():
        images = torch.stack([case["image"].as_tensor().flatten() for case in cases])
        parts[part] = images, torch.tensor([case["class_label"] for case in cases])
    images, labels = parts["train"]
    means = torch.stack([images[labels == label].mean(0) for label in range(4)])  # the mean image of each class
    images, labels = parts["test"]
    nearest = torch.cdist(images - images.mean(1, keepdim=True), means - means.mean(1, keepdim=True)).argmin(1)
    assert (nearest == labels).float().mean() > 0.9
