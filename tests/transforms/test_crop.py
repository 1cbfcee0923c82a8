"""Random crops that are turned, zoomed and deformed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Rand2DElasticd, Rand3DElasticd

from flemme_monai.transforms import RandAffineCropd

KEYS = ("image", "label")


def ramp(*size: int) -> dict[str, torch.Tensor]:
    """An image whose values are their place, one channel an axis, and a label that is the first axis' place."""
    places = torch.stack(torch.meshgrid(*[torch.arange(float(side)) for side in size], indexing="ij"))
    return {"image": places, "label": places[:1].round().to(torch.uint8)}


def slopes(places: torch.Tensor) -> torch.Tensor:
    """How much each channel (C, *S) of a cropped ramp changes from voxel to voxel: 0 where a border is repeated."""
    inner = (slice(None), *[slice(0, -1)] * (places.ndim - 1))
    steps = [(places.roll(-1, axis) - places)[inner].abs() for axis in range(1, places.ndim)]
    return torch.stack(steps).sum(0)


def elastic(dims: int) -> list:
    modes = {"mode": ["bilinear", "nearest"], "padding_mode": "border", "prob": 1.0}
    if dims == 2:
        return [Rand2DElasticd(KEYS, spacing=16, magnitude_range=(0.5, 2.0), **modes)]
    return [Rand3DElasticd(KEYS, sigma_range=(4, 6), magnitude_range=(50, 150), **modes)]


def crop(dims: int, size: int, seed: int = 0, **settings) -> RandAffineCropd:
    transform = RandAffineCropd(KEYS, size, dims, ("bilinear", "nearest"), elastic=elastic(dims), **settings)
    return transform.set_random_state(seed)


ALWAYS = {"rotate_prob": 1.0, "zoom_prob": 1.0, "elastic_prob": 1.0}


@pytest.mark.parametrize(("dims", "side", "size"), [(2, 160, 64), (3, 72, 20)])
@pytest.mark.parametrize("settings", [ALWAYS, {"rotate_prob": 1.0}, {"zoom_prob": 1.0}, {"elastic_prob": 1.0}, {}])
def test_no_border_is_repeated_where_the_image_has_more_to_show(dims, side, size, settings) -> None:
    transform, item = crop(dims, size, **settings), ramp(*[side] * dims)
    for _ in range(20 if dims == 2 else 6):
        out = transform(item)
        assert out["image"].shape == (dims, *[size] * dims)
        assert slopes(out["image"]).min() > 0.01
        assert out["image"].min() >= 0
        assert out["image"].max() <= side - 1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [ALWAYS, {}])
def test_image_and_label_are_cut_at_one_place(dims, settings) -> None:
    transform, item = crop(dims, 20, **settings), ramp(*[64] * dims)
    for _ in range(10):
        out = transform(item)
        assert (out["image"][:1] - out["label"]).abs().max() < 1.5


def test_a_turned_and_zoomed_crop_keeps_distances() -> None:
    transform = crop(2, 32, rotate_prob=1.0, rotate_range=0.3, zoom_prob=1.0, min_zoom=0.8, max_zoom=0.8)
    seen = set()
    for _ in range(10):
        places = transform(ramp(100, 100))["image"]
        step = places[:, 1, 0] - places[:, 0, 0]
        assert step.norm().item() == pytest.approx(1 / 0.8, rel=1e-3)
        angle = float(torch.atan2(step[1], step[0]))
        assert abs(angle) <= 0.3 + 1e-4
        seen.add(round(angle, 2))
    assert len(seen) > 5


def test_every_place_is_cropped_as_it_is() -> None:
    transform, item = crop(2, 4), ramp(6, 7)
    places = {tuple(transform(item)["image"][:, 0, 0].int().tolist()) for _ in range(300)}
    assert places == {(i, j) for i in range(3) for j in range(4)}


def test_a_crop_as_large_as_the_image_is_the_image() -> None:
    item = ramp(8, 8)
    assert torch.equal(crop(2, 8)(item)["image"], item["image"])


def test_where_the_image_ends_its_border_is_repeated() -> None:
    out = crop(2, 16, rotate_prob=1.0, zoom_prob=1.0, min_zoom=0.5, max_zoom=0.5)(ramp(16, 100))
    places = out["image"]
    assert places[0].min() == 0
    assert places[0].max() == 15
    assert places[1].diff(dim=1).min() > 0.5


def test_a_seed_decides() -> None:
    item = ramp(60, 60)
    first, again = (Compose([crop(2, 16, **ALWAYS)]).set_random_state(3) for _ in range(2))
    for _ in range(3):
        one, other = first(item), again(item)
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])


def test_the_item_is_not_changed() -> None:
    item = ramp(60, 60)
    before = item["image"].clone()
    out = crop(2, 16)({**item, "case": "a"})
    out["image"].zero_()
    assert torch.equal(item["image"], before)
    assert out["case"] == "a"


@pytest.mark.parametrize("settings", [ALWAYS, {}])
def test_an_image_smaller_than_the_crop_gets_zeros_around_it(settings) -> None:
    item = {"image": torch.ones(1, 8, 40), "label": torch.ones(1, 8, 40, dtype=torch.uint8)}
    out = crop(2, 16, **settings)(item)
    assert out["image"].shape == out["label"].shape == (1, 16, 16)
    assert 0.2 < out["image"].mean() < 0.8
    if not settings:
        assert out["image"][0].sum(0).tolist() == [8] * 16


def test_zooms_out_of_order_are_named() -> None:
    with pytest.raises(ValueError, match=r"min_zoom is 1\.2 and max_zoom 0\.9"):
        crop(2, 16, min_zoom=1.2, max_zoom=0.9)


def test_the_share_of_turned_crops_is_the_probability() -> None:
    transform, item = crop(2, 16, rotate_prob=0.25), ramp(60, 60)
    whole = [bool((out == out.round()).all()) for out in (transform(item)["image"] for _ in range(400))]
    assert np.mean(whole) == pytest.approx(0.75, abs=0.07)
