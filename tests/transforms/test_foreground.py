"""Crops around the foreground."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import ClassesToIndicesd

from flemme_monai.transforms import RandAffineCropd


def crop(share: float, **more) -> RandAffineCropd:
    made = RandAffineCropd(["image", "label"], 8, 3, ["bilinear", "nearest"], foreground_share=share, **more)
    return made.set_random_state(0)


def case() -> dict[str, torch.Tensor]:
    """A large class 1 and a class 2 of two voxels."""
    label = torch.zeros(1, 40, 40, 40)
    label[:, 10:24, 10:24, 10:24] = 1
    label[:, 32:34, 33, 33] = 2
    return {"image": label.clone(), "label": label}


def classes(transform: RandAffineCropd, item: dict, draws: int = 60) -> np.ndarray:
    """Share of crops that show each class."""
    found = [transform(dict(item))["label"].unique().tolist() for _ in range(draws)]
    return np.array([sum(label in crop for crop in found) / draws for label in (1, 2)])


@pytest.mark.parametrize("more", [{}, {"rotate_prob": 1.0, "zoom_prob": 1.0}])
def test_classes_are_drawn_evenly_whatever_their_size(more):
    shares = classes(crop(1.0, **more), case())
    assert shares.tolist() == pytest.approx([0.5, 0.5], abs=0.2)
    assert classes(crop(0.0, **more), case())[1] < 0.1  # anywhere: class 2 is two voxels of 64,000


def test_the_share_is_that_of_crops_around_a_class():
    assert classes(crop(0.33), case())[1] == pytest.approx(0.33 / 2, abs=0.1)


def test_positions_that_were_kept_give_the_crops_of_those_that_are_looked_for():
    item = case()
    kept = ClassesToIndicesd("label", num_classes=3)(dict(item))
    looked_for, used = (crop(1.0)(dict(data)) for data in (item, kept))
    assert torch.equal(looked_for["label"], used["label"])
    assert used.keys() == {"image", "label"}


def test_an_image_smaller_than_the_crop_is_padded_around_the_class():
    item = {key: torch.zeros(1, 4, 12, 12) for key in ("image", "label")}
    item["label"][:, 3, 11, 11] = 1
    for seed in range(5):
        found = crop(1.0).set_random_state(seed)(dict(item))
        assert found["label"].shape == (1, 8, 8, 8)
        assert found["label"].sum() == 1


def test_a_case_without_foreground_is_cropped_anywhere():
    empty = {key: torch.zeros(1, 16, 16, 16) for key in ("image", "label")}
    assert crop(1.0)(empty)["label"].shape == (1, 8, 8, 8)


def test_without_a_share_crops_are_as_before():
    """No random number more is drawn: a run of a bundle repeats what it did before the setting was there."""
    item, state = case(), np.random.RandomState(0)
    made = crop(0.0)
    for _ in range(3):
        state.random(), state.random(), state.random()  # turn, zoom, elastic
        first = state.randint(np.full(3, 33))
        x, y, z = (slice(i, i + 8) for i in first)
        assert torch.equal(made(dict(item))["label"], item["label"][:, x, y, z])


def test_a_share_above_1_is_refused():
    with pytest.raises(ValueError, match=r"foreground_share is 1.5; expected 0 to 1"):
        crop(1.5)


def test_each_of_the_masks_that_may_overlap_is_a_class():
    masks = torch.zeros(2, 24, 24, 24)
    masks[0, :4, :4, :4] = 1
    masks[1, 20, 20, 20] = 1
    item = {"image": masks[:1].clone(), "label": masks}
    kept = ClassesToIndicesd("label", num_classes=2)(dict(item))
    for data in (item, kept):
        crops = [crop(1.0).set_random_state(seed)(dict(data))["label"].flatten(1).any(1).tolist() for seed in range(20)]
        assert crops.count([True, False]) == pytest.approx(10, abs=6)
        assert crops.count([True, False]) + crops.count([False, True]) == 20
