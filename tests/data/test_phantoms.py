"""Phantoms stand in for a data set."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.data import class_phantoms, inference_list, phantoms, split_datalist
from flemme_monai.recipes.transforms import reconstruction_transforms


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


@pytest.mark.parametrize("task", ["reconstruction", "generation"])
@pytest.mark.parametrize("size", [(64, 64), (24, 24, 24)])
def test_what_a_network_shall_make_has_no_noise(task: str, size: tuple[int, ...]) -> None:
    case = split_datalist(None, task, len(size), 1, 1 if task == "reconstruction" else None, size)["train"][3]
    assert case["noise"].shape == case["image"].shape
    assert case["noise"].std() == pytest.approx(0.05, rel=0.1)
    corner = case["image"].as_tensor()[0, :4, :4]  # air
    assert corner.std() < 0.003
    noisy = split_datalist(None, "segmentation", len(size), 1, 2, size)["train"][3]
    assert noisy["image"].as_tensor()[0, :4, :4].std() > 0.01
    assert "noise" not in noisy


@pytest.mark.parametrize("train", [True, False])
def test_the_noise_of_a_phantom_is_in_the_input_and_not_in_the_target(train: bool) -> None:
    config = {
        **{"image_size": [64, 64], "spatial_dims": 2, "in_channels": 1, "seed": 0, "degradation": "none"},
        **{"neighbour_slices": 0, "pairs": False, "upscale": 1, "out_channels": 1, "target_scale": None},
        **{"acceleration": 4, "center_fraction": 0.08, "validate": {"preprocessing": None}},
        "augmentation": dict.fromkeys(("flip", "rotate", "scale", "elastic", "intensity", "noise"), 0.0),
        "transforms": reconstruction_transforms(train),
    }
    case = split_datalist(None, "reconstruction", 2, 1, 1, (64, 64))["val"][0]
    item = ConfigParser(config).get_parsed_content("transforms")(case)
    image, label = (torch.as_tensor(item[key]) for key in ("image", "label"))
    assert torch.allclose(image - label, case["noise"], atol=1e-6)
    assert "noise" not in item


def test_inference_sees_phantoms_with_their_noise() -> None:
    (clean, *_), (noisy, *_) = (
        split_datalist(None, "reconstruction", 2, 1, 1, 32)["test"],
        inference_list(None, "reconstruction", 2, 1, 1, 32),
    )
    assert noisy.keys() == clean.keys() - {"noise"}
    assert torch.equal(noisy["image"], clean["image"] + clean["noise"])
    assert noisy["image"].meta["filename_or_obj"] == "phantom_064.png"
