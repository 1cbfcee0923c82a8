"""What the training of a segmentation makes of an image."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from flemme_monai.recipes import make_bundle


def preprocessing(**settings: Any) -> Compose:
    """The training's transforms under some settings."""
    parser = ConfigParser(json.loads(make_bundle("sem_unet", settings=settings)["configs/train.json"]))
    return parser.get_parsed_content("train#preprocessing").set_random_state(0)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_augmented_crop_shows_the_image_up_to_its_border(dims: int) -> None:
    side, size = (160, 64) if dims == 2 else (72, 20)
    always = {f"augmentation#{name}": 1.0 for name in ("flip", "rotate", "scale", "elastic")}
    none = {f"augmentation#{name}": 0.0 for name in ("intensity", "noise")}
    shape = {"spatial_dims": dims, "in_channels": dims, "image_size": [size] * dims, "num_classes": 2}
    transform = preprocessing(**always, **none, **shape)
    places = torch.stack(torch.meshgrid(*[torch.arange(float(side))] * dims, indexing="ij"))
    item = {"image": places, "label": (places[:1] > side / 2).to(torch.uint8)}
    for _ in range(10):
        image = transform(item)["image"]
        inner = (slice(None), *[slice(0, -1)] * dims)
        steps = sum((image.roll(-1, axis) - image)[inner].abs() for axis in range(1, dims + 1))
        assert image.shape == (dims, *[size] * dims)
        assert steps.min() > 1e-4  # 0 where a border is repeated


def test_slices_of_volumes_are_cropped_and_augmented_as_pictures() -> None:
    from flemme_monai.data import CaseDataset

    always = {f"augmentation#{name}": 1.0 for name in ("flip", "rotate", "scale", "elastic")}
    transform = preprocessing(image_size=[48, 48], num_classes=2, **always)
    volumes = [{"image": torch.rand(1, 40, 90, 5), "label": torch.ones(1, 40, 90, 5), "case": "a"}]
    data = CaseDataset(volumes, transform, slices=True, progress=False)
    assert len(data) == 5
    assert data[3]["image"].shape == data[3]["label"].shape == (1, 48, 48)


NEW = ("brightness", "gamma", "contrast", "blur", "low_resolution", "screen_photo")
COLOURS = ("saturation", "hue")


def item(channels: int = 1, side: int = 48) -> dict[str, torch.Tensor]:
    """A picture and a label of half of it."""
    image = torch.randn(channels, side, side, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, side, side, dtype=torch.uint8)
    label[:, : side // 2] = 1
    return {"image": image, "label": label}


def names(transform: Compose) -> list[str]:
    """The transforms in a list, those inside of others too."""
    return [type(one).__name__ for one in transform.flatten().transforms]


def test_what_is_not_asked_for_is_not_there_and_changes_no_random_number() -> None:
    plain = preprocessing(num_classes=2, image_size=[32, 32])
    found = ["RandAffineCropd", "RandFlipd", "RandFlipd"]
    found += ["RandScaleIntensityd", "RandShiftIntensityd", "RandGaussianNoised"]
    assert [name for name in names(plain) if name.startswith("Rand")] == found


@pytest.mark.parametrize("name", [*NEW, *COLOURS])
def test_a_probability_turns_its_transform_on(name: str) -> None:
    old = {f"augmentation#{other}": 0.0 for other in ("flip", "rotate", "scale", "elastic", "intensity", "noise")}
    channels = 3 if name in COLOURS else 1
    shape = {"num_classes": 2, "image_size": [48, 48], "in_channels": channels}
    plain = preprocessing(**old, **shape)(item(channels))
    out = preprocessing(**old, **shape, **{f"augmentation#{name}": 1.0})(item(channels))
    assert not torch.allclose(out["image"], plain["image"], atol=0.05)
    assert out["image"].isfinite().all()
    assert out["image"].shape == (channels, 48, 48)
    assert torch.equal(out["label"], plain["label"]) == (name != "screen_photo")


def test_a_photograph_is_normalised_as_its_image() -> None:
    old = {f"augmentation#{other}": 0.0 for other in ("flip", "rotate", "scale", "elastic", "intensity", "noise")}
    transform = preprocessing(**old, num_classes=2, image_size=[48, 48], **{"augmentation#screen_photo": 1.0})
    image = transform(item())["image"]
    assert image.mean() == pytest.approx(0, abs=1e-3)
    assert image.std() == pytest.approx(1, abs=1e-3)


def test_volumes_are_augmented_but_not_photographed() -> None:
    shape = {"spatial_dims": 3, "num_classes": 2, "image_size": [16, 16, 16]}
    volume = {"image": torch.randn(1, 24, 24, 24), "label": torch.ones(1, 24, 24, 24)}
    all_but = {f"augmentation#{name}": 1.0 for name in NEW if name != "screen_photo"}
    assert preprocessing(**shape, **all_but)(dict(volume))["image"].shape == (1, 16, 16, 16)
    with pytest.raises(RuntimeError) as error:
        preprocessing(**shape, **{"augmentation#screen_photo": 1.0})(dict(volume))
    assert "set augmentation#screen_photo to 0" in str(error.value.__cause__)


def test_gamma_keeps_mean_and_deviation_and_brightness_moves_the_mean() -> None:
    old = {f"augmentation#{other}": 0.0 for other in ("flip", "rotate", "scale", "elastic", "intensity", "noise")}
    shape = {"num_classes": 2, "image_size": [48, 48]}
    plain, gamma, brightness = (
        preprocessing(**old, **shape, **probability)(item())["image"]
        for probability in ({}, {"augmentation#gamma": 1.0}, {"augmentation#brightness": 1.0})
    )
    assert gamma.mean() == pytest.approx(float(plain.mean()), abs=1e-3)
    assert gamma.std() == pytest.approx(float(plain.std()), rel=1e-3)
    assert abs(brightness.mean() - plain.mean()) > 0.05


def test_the_ranges_are_settings() -> None:
    old = {f"augmentation#{other}": 0.0 for other in ("flip", "rotate", "scale", "elastic", "intensity", "noise")}
    shape = {"num_classes": 2, "image_size": [48, 48], "augmentation#contrast": 1.0, "augmentation#blur": 1.0}
    ranges = {"augmentation#contrast_range": [1.0, 1.0], "augmentation#blur_range": [1e-3, 1e-3]}
    plain = preprocessing(**old, num_classes=2, image_size=[48, 48])(item())["image"]
    assert torch.allclose(preprocessing(**old, **shape, **ranges)(item())["image"], plain, atol=1e-4)


def test_a_turn_about_one_axis_leaves_its_planes_in_place() -> None:
    none = {f"augmentation#{other}": 0.0 for other in ("flip", "scale", "elastic", "intensity", "noise")}
    turn = {"augmentation#rotate": 1.0, "augmentation#rotate_range": [0.0, 0.0, 0.35]}
    shape = {"spatial_dims": 3, "image_size": [12, 12, 6], "num_classes": 2}
    transform = preprocessing(**none, **turn, **shape)
    depth = torch.arange(24.0).expand(1, 40, 40, 24).contiguous()
    across = torch.arange(40.0)[:, None, None].expand(1, 40, 40, 24).contiguous()
    image = transform({"image": depth, "label": torch.ones(1, 40, 40, 24)})["image"]
    assert (image[0].flatten(0, 1).std(0) < 1e-3).all()
    image = transform({"image": across, "label": torch.ones(1, 40, 40, 24)})["image"]
    assert image[0, 0, :, 0].std() > 0.01  # turned in the plane


@pytest.mark.parametrize(("axes", "dims"), [([0, 1], 3), ([2], 3), ([1, 2], 3), ([0, 1, 2], 2)])
def test_images_are_flipped_along_the_axes_that_are_set(axes: list[int], dims: int) -> None:
    none = {f"augmentation#{other}": 0.0 for other in ("rotate", "scale", "elastic", "intensity", "noise")}
    shape = {"spatial_dims": dims, "image_size": [8] * dims, "num_classes": 2}
    transform = preprocessing(**none, **shape, **{"augmentation#flip": 1.0, "augmentation#flip_axes": axes})
    image = torch.randn(1, *[8] * dims)
    label = (image > 0).to(torch.uint8)
    found = transform({"image": image, "label": label})
    turned = [axis + 1 for axis in axes if axis < dims]
    assert torch.equal(found["label"], label.flip(turned).float())
    assert torch.allclose(found["image"], (image - image.mean()).flip(turned) / image.std(correction=0), atol=1e-5)
