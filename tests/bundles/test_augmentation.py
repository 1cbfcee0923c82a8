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


NNUNET = ("blur", "contrast", "low_resolution", "gamma")


@pytest.mark.parametrize("name", NNUNET)
def test_nnunet_s_augmentations_change_values_and_not_labels(name: str) -> None:
    none = {f"augmentation#{other}": 0.0 for other in ("flip", "rotate", "scale", "elastic", "intensity", "noise")}
    item = {"image": torch.randn(1, 32, 32), "label": (torch.rand(1, 32, 32) > 0.5).to(torch.uint8)}
    plain = preprocessing(image_size=[32, 32], num_classes=2, **none)(dict(item))
    changed = preprocessing(image_size=[32, 32], num_classes=2, **none, **{f"augmentation#{name}": 1.0})(dict(item))
    assert torch.equal(plain["label"], changed["label"])
    assert changed["image"].shape == plain["image"].shape
    assert not torch.allclose(changed["image"], plain["image"], atol=1e-3)
    if name == "gamma":
        assert changed["image"].std() == pytest.approx(float(plain["image"].std()), rel=1e-3)
    if name == "blur":
        assert changed["image"].std() < 0.8 * plain["image"].std()


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
