"""Corruptions of images."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.transforms.corruptions import CORRUPTIONS, Corruptd
from flemme_monai.transforms.ghosting import Ghosting

MOVED = [name for name, one in CORRUPTIONS.items() if one.moves]


def item(shape: tuple[int, ...] = (48, 40), case: str = "a") -> dict[str, object]:
    """A bright block on a dark slope, and its label; values as of a CT."""
    image = 100 * torch.linspace(0, 1, shape[0]).view(-1, *[1] * (len(shape) - 1)).expand(shape) - 1000
    label = torch.zeros(1, *shape, dtype=torch.uint8)
    label[(0, *(slice(side // 2, side // 2 + side // 4) for side in shape))] = 1
    return {"image": image[None] + 900.0 * label, "label": label, "case": case}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strength_0_changes_nothing_and_more_changes_more(name: str) -> None:
    clean = item()
    same = Corruptd(name, 0.0)(clean)
    assert torch.equal(same["image"], clean["image"])
    steps = [(Corruptd(name, s)(clean)["image"] - clean["image"]).abs().mean() for s in (0.02, 0.3, 1.0)]
    assert steps[0] < steps[1] < steps[2]
    assert steps[0] < 0.1 * steps[2] or name == "screen_photo"  # which JPEG is part of


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_label_moves_with_the_image_and_only_then(name: str) -> None:
    clean, out = item(), Corruptd(name, 1.0)(item())
    assert out["label"].dtype == torch.uint8
    assert torch.equal(out["label"], clean["label"]) == (name not in MOVED)
    inside = out["label"] == 1
    assert out["image"][inside].mean() > out["image"][~inside].mean() + 100


def test_a_rotation_is_of_45_degrees_at_most() -> None:
    clean, out = item((65, 65)), Corruptd("rotation", 1.0)(item((65, 65)))
    before, after = (part["label"][0].nonzero().float().mean(0) - 32 for part in (clean, out))
    cosine = before @ after / (before.norm() * after.norm())
    assert math.degrees(math.acos(cosine)) < 3 or math.degrees(math.acos(cosine)) == pytest.approx(45, abs=3)
    assert after.norm() == pytest.approx(before.norm(), abs=1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_case_looks_the_same_each_time_and_another_does_not(name: str) -> None:
    first, again = Corruptd(name, 0.5)(item()), Corruptd(name, 0.5)(item())
    assert torch.equal(first["image"], again["image"])
    if name != "blur":  # in which nothing is random
        others = [Corruptd(name, 0.5)(item(case=case))["image"] for case in "bcdefg"]
        others += [Corruptd(name, 0.5, seed)(item())["image"] for seed in range(1, 5)]
        assert not all(torch.equal(first["image"], other) for other in others)


@pytest.mark.parametrize("name", [name for name, one in CORRUPTIONS.items() if one.volumes])
def test_volumes_are_corrupted_too(name: str) -> None:
    volume = item((24, 20, 16))
    volume["image"] = MetaTensor(volume["image"], meta={"filename_or_obj": "a.nii.gz"})
    out = Corruptd(name, 0.7)(volume)
    assert out["image"].shape == (1, 24, 20, 16)
    assert out["image"].meta["filename_or_obj"] == "a.nii.gz"
    assert out["image"].isfinite().all()
    assert not torch.equal(out["image"], volume["image"])


def test_a_spike_is_a_wave_of_half_the_range() -> None:
    flat = {"image": torch.zeros(1, 64, 64), "label": torch.zeros(1, 64, 64), "case": "a"}
    flat["image"][0, 0, 0] = 2.0  # range 0 to 2
    wave = Corruptd("k_space_spike", 1.0)(flat)["image"][0] - flat["image"][0]
    assert wave.abs().max() == pytest.approx(1.0, abs=0.02)
    spectrum = torch.fft.fft2(wave).abs()
    assert (spectrum > 0.5 * spectrum.max()).sum() == 2  # one frequency


def test_two_ghosts_of_lost_lines_are_half_the_image_each() -> None:
    image = torch.zeros(1, 32, 24)
    image[0, 6:10, 8:14] = 1.0
    torch.testing.assert_close(Ghosting(1.0, 2, 0)(image), (image + image.roll(16, 1)) / 2, atol=1e-5, rtol=0)
    half = 0.75 * image + 0.25 * image.roll(12, 2)
    torch.testing.assert_close(Ghosting(0.5, 2, 1)(image), half, atol=1e-5, rtol=0)
    torch.testing.assert_close(Ghosting(0.0, 3, 1)(image), image, atol=1e-5, rtol=0)


def test_ghosts_keep_the_mean() -> None:
    image = torch.rand(2, 30, 28, 26)
    for num_ghosts in (2, 3, 5):
        k_space = torch.fft.fftn(Ghosting(1.0, num_ghosts, 2)(image), dim=(1, 2, 3))
        assert k_space[0, 0, 0, 0].real == pytest.approx(image[0].sum().item(), rel=0.05)


@pytest.mark.parametrize(("settings", "found"), [(("fog", 0.5), "name is 'fog'"), (("noise", 1.5), "strength is 1.5")])
def test_settings_that_do_not_fit_are_named(settings: tuple[str, float], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        Corruptd(*settings)


def test_a_single_ghost_is_refused() -> None:
    with pytest.raises(ValueError, match="num_ghosts is 1"):
        Ghosting(0.5, 1)
