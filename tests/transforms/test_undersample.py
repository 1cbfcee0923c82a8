"""Zero-filled images from undersampled k-space."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.data import split_datalist
from flemme_monai.transforms import LoadImageAndLabeld, UndersampleKspaced

IMAGE = split_datalist(None, "reconstruction", 2, 2, 2, 64)["val"][0]["image"].as_tensor()
VOLUME = torch.stack([IMAGE, IMAGE.flip(1), IMAGE * 0.5], dim=-1)


@pytest.mark.parametrize("mask", ["equispaced", "random"])
@pytest.mark.parametrize("acceleration", [4, 8])
def test_about_one_column_in_acceleration_is_kept(mask: str, acceleration: float) -> None:
    transform = UndersampleKspaced(mask=mask, acceleration=acceleration).set_random_state(0)
    kept = []
    for _ in range(20):
        transform({"image": IMAGE, "case": "a"})
        kept.append(transform.masker.mask.mean().item())
    assert abs(sum(kept) / len(kept) * acceleration - 1) < 0.25
    assert transform.masker.mask.flatten()[30:34].all()


def test_an_image_of_central_columns_only_comes_back() -> None:
    rows = IMAGE.mean(dim=-1, keepdim=True).expand_as(IMAGE)
    torch.testing.assert_close(UndersampleKspaced(seed=0)({"image": rows, "case": "a"})["image"], rows)


def test_an_image_with_too_few_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="has 7 columns"):
        UndersampleKspaced(acceleration=8)({"image": IMAGE[..., :7]})


@pytest.mark.parametrize("mask", ["equispaced", "random"])
def test_the_image_is_degraded_but_recognisable(mask: str) -> None:
    out = UndersampleKspaced(mask=mask, seed=0)({"image": IMAGE, "case": "a"})["image"]
    assert out.shape == IMAGE.shape
    assert out.dtype == torch.float32
    assert 0.02 < (out - IMAGE).abs().mean() < 0.2
    assert torch.corrcoef(torch.stack([out.flatten(), IMAGE.flatten()]))[0, 1] > 0.7


def test_channels_share_the_mask_and_stay_apart() -> None:
    both = UndersampleKspaced(seed=0)({"image": IMAGE, "case": "a"})["image"]
    second = UndersampleKspaced(seed=0)({"image": IMAGE[1:], "case": "a"})["image"]
    torch.testing.assert_close(both[1:], second)


def test_the_slices_of_a_volume_share_the_mask() -> None:
    whole = UndersampleKspaced(seed=0)({"image": VOLUME, "case": "a"})["image"]
    assert whole.shape == VOLUME.shape
    for index in range(VOLUME.shape[-1]):
        alone = UndersampleKspaced(seed=0)({"image": VOLUME[..., index], "case": "a"})["image"]
        torch.testing.assert_close(whole[..., index], alone)


@pytest.mark.parametrize("mask", ["equispaced", "random"])
def test_a_seed_fixes_the_mask_of_each_case_and_slice(mask: str) -> None:
    transform = UndersampleKspaced(mask=mask, seed=3)

    def masks(seed: int) -> list[torch.Tensor]:
        transform.set_random_state(seed)
        places = [("a", 0), ("a", 1), ("b", 0), ("c", 4), ("d", 7)]
        return [transform({"image": IMAGE, "case": case, "slice": index})["image"] for case, index in places]

    first, again = masks(0), masks(1)
    assert all(torch.equal(one, other) for one, other in zip(first, again))
    assert any(not torch.equal(first[0], other) for other in first[1:])


def test_without_seed_each_call_draws_a_mask_that_the_random_state_decides() -> None:
    transform = UndersampleKspaced(mask="random").set_random_state(5)
    first = [transform({"image": IMAGE})["image"] for _ in range(3)]
    transform.set_random_state(5)
    assert all(torch.equal(transform({"image": IMAGE})["image"], image) for image in first)
    assert not torch.equal(first[0], first[1])


def test_the_meta_stays() -> None:
    image = MetaTensor(IMAGE, meta={"filename_or_obj": "a.png"})
    assert UndersampleKspaced(seed=0)({"image": image, "case": "a"})["image"].meta["filename_or_obj"] == "a.png"


@pytest.mark.parametrize("setting", [{"mask": "spiral"}, {"acceleration": 1}, {"center_fraction": 0.3}])
def test_settings_that_do_not_fit_are_named(setting: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} "):
        UndersampleKspaced(**setting)


def test_the_zero_filled_brain_keeps_its_shape(data_dir) -> None:
    split = split_datalist(data_dir / "brain_t1", "reconstruction", 2, 1, 1, 128, split_by="slab")
    item = LoadImageAndLabeld(1)({**split["test"][0], "slab": (200, 204)})
    out = UndersampleKspaced(seed=0)(item)["image"]
    assert out.shape == (1, 274, 384, 4)
    assert 0 < (out - item["image"]).pow(2).mean().sqrt() < 0.2 * item["image"].max()
