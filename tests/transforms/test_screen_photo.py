"""Photographs of a screen."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate

from flemme_monai.transforms import RandScreenPhotod, ScreenPhoto
from flemme_monai.transforms.screen_photo_light import (
    compress,
    defocus_kernel,
    filtered,
    motion_kernel,
    pixel_grid,
    sensor_noise,
    vignette,
)
from flemme_monai.transforms.screen_photo_pose import DISTANCE, CameraPose, places_on_screen, sampled

BOTH, MODES = ["image", "label"], ["bilinear", "nearest"]
NONE = ScreenPhoto(**{field.name: 0 for field in fields(ScreenPhoto)})
LANDMARKS = [(30, 40), (64, 64), (90, 30), (70, 100), (40, 88)]


def discs(size: int = 128, radius: float = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A grey picture with white discs, and a label map with a class for each."""
    axis = torch.arange(float(size))
    label = torch.zeros(1, size, size, dtype=torch.uint8)
    for index, (first, second) in enumerate(LANDMARKS, 1):
        label[0][(axis[:, None] - first) ** 2 + (axis - second) ** 2 <= radius**2] = index
    return 0.1 + 0.9 * (label > 0).float(), label


def photo(**parameters: Any) -> ScreenPhoto:
    """A photograph with few effects."""
    return replace(NONE, **{"strength": 1.0, "glare_radius": 1.0, **parameters})


def taken(levels: torch.Tensor, **parameters: Any) -> torch.Tensor:
    one = photo(**parameters)
    return one.take(levels, one.places((levels.shape[1], levels.shape[2])))


@pytest.mark.parametrize("channels", [1, 3])
def test_strength_0_leaves_an_item_as_it_is(channels: int) -> None:
    image, label = torch.randn(channels, 40, 56), torch.randint(0, 3, (1, 40, 56))
    for transform in RandScreenPhotod(BOTH, MODES, strength=0), RandScreenPhotod(BOTH, MODES, prob=0):
        out = transform.set_random_state(0)({"image": image, "label": label})
        assert torch.equal(out["image"], image)
        assert torch.equal(out["label"], label)
        assert out["screen_photo"]["strength"] == 0


def test_a_strength_near_0_changes_little() -> None:
    image, label = discs()
    transform = RandScreenPhotod(BOTH, MODES, strength=1e-3).set_random_state(0)
    out = transform({"image": image, "label": label})
    assert (out["image"] - image).abs().max() < 0.05
    assert torch.equal(out["label"], label)


@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_move_together(seed: int) -> None:
    image, label = discs()
    item = RandScreenPhotod(BOTH, MODES, strength=1.0).set_random_state(seed)({"image": image, "label": label})
    one = ScreenPhoto(**item["screen_photo"])
    places = one.places((128, 128))
    seen = 0
    for index, landmark in enumerate(LANDMARKS, 1):
        inside = item["label"][0] == index
        if inside.sum() < 30:  # out of view
            continue
        seen += 1
        centre = inside.nonzero().float().mean(0)
        assert (places[:, inside].mean(1) - torch.tensor(landmark)).norm() < 0.5
        first, second = (centre.round().int() - 8).clamp(min=0).tolist()
        part = item["image"][0, first : first + 17, second : second + 17]
        weight = (part - part.quantile(0.5)).clamp(min=0)
        weight = torch.where(weight > weight.max() / 3, weight, 0)
        grid = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in part.shape], indexing="ij"))
        found = (grid * weight).sum((1, 2)) / weight.sum() + torch.tensor([first, second])
        assert (found - centre).norm() < 0.5
    assert seen >= 3
    assert (item["label"] != label).sum() > 100  # they did move


def test_label_maps_keep_their_classes_and_type_and_have_background_around_the_screen() -> None:
    label = torch.full((1, 64, 64), 3, dtype=torch.int16)
    transform = RandScreenPhotod(BOTH, MODES, strength=1.0).set_random_state(0)
    out = transform({"image": torch.rand(1, 64, 64), "label": label})["label"]
    assert out.dtype == torch.int16
    assert set(out.unique().tolist()) == {0, 3}


def test_a_camera_held_straight_sees_the_screen_as_it_is() -> None:
    grid = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij"))
    torch.testing.assert_close(places_on_screen((20, 30), CameraPose()), grid, atol=1e-5, rtol=0)
    image = torch.rand(3, 20, 30)
    for mode in MODES:
        torch.testing.assert_close(sampled(image, grid, mode), image, atol=1e-5, rtol=0)


def test_a_pose_is_what_its_words_say() -> None:
    points = torch.rand(2, 7) - 0.5
    angle = math.radians(30)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    torch.testing.assert_close(CameraPose(roll=30).to_screen(points), turn @ points)
    torch.testing.assert_close(CameraPose(zoom=0.25).to_screen(points), points / 1.25)
    torch.testing.assert_close(CameraPose(shift=(0.1, -0.2)).to_screen(points), points + torch.tensor([[0.1], [-0.2]]))
    bent = CameraPose(distortion=0.1).to_screen(points)
    torch.testing.assert_close(bent, points * (1 + 0.1 * points.square().sum(0)))


@pytest.mark.parametrize("pose", [CameraPose(yaw=20), CameraPose(pitch=-15), CameraPose(10, -20, 5)])
def test_perspective_is_where_rays_meet_a_tilted_plane(pose: CameraPose) -> None:
    points = torch.rand(2, 5) - 0.5
    found = pose.to_screen(points)
    a, b, c = (math.radians(angle) for angle in (pose.yaw, pose.pitch, pose.roll))
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    axes = x @ y @ z
    for point, place in zip(points.T.numpy(), found.T.numpy()):
        in_space = place[0] * axes[:, 0] + place[1] * axes[:, 1] + np.array([0, 0, DISTANCE])
        np.testing.assert_allclose(in_space[:2] / in_space[2] * DISTANCE, point, atol=1e-5)


def test_a_grid_that_the_sensor_undersamples_is_moire_of_the_difference_of_frequencies() -> None:
    places = places_on_screen((64, 64), CameraPose())
    flat = pixel_grid(places, 1, 0.5, 1.0, 0.2)
    assert flat.std() < 1e-4  # one screen pixel for each of the sensor's
    bands = pixel_grid(places, 1, 0.5, 1 + 4 / 64, 0.0)[0]
    spectrum = torch.fft.rfft(bands.mean(1)).abs()
    assert spectrum[1:].argmax() + 1 == 4  # bands of 16 pixels
    assert bands.mean() == pytest.approx(1, abs=1e-4)
    colours = pixel_grid(places, 3, 0.5, 1 + 4 / 64, 0.0)
    phases = torch.fft.rfft(colours.mean(2))[:, 4].angle()
    turns = torch.diff(phases).remainder(2 * math.pi) / (2 * math.pi)
    torch.testing.assert_close(turns, torch.full((2,), 1 / 3), atol=1e-4, rtol=0)  # stripes beside each other
    assert torch.equal(pixel_grid(places, 3, 0.0, 1.1, 0.3), torch.ones(3, 64, 64))


def test_effects_happen_in_their_order() -> None:
    black, grey = torch.zeros(1, 32, 32), torch.full((1, 32, 32), 0.5)
    tolerance = 1.5 / 255  # of JPEG at quality 100
    # the room's reflection is not behind the screen's grid, and the exposure is of both
    haze = taken(black, grid=1.0, grid_frequency=1.1, haze=0.4, exposure=-1.0)
    torch.testing.assert_close(haze, torch.full_like(haze, 0.4 * 0.5 ** (1 / 2.2)), atol=tolerance, rtol=0)
    # the screen's gamma is not the file's
    torch.testing.assert_close(taken(grey, gamma=0.2), grey**1.2, atol=tolerance, rtol=0)
    # the vignette darkens reflections too
    dark = taken(black, haze=0.5, vignette=0.75)
    assert dark[0, 0, 0] == pytest.approx(0.5 * 0.25 ** (1 / 2.2), abs=tolerance)
    assert dark[0, 16, 16] == pytest.approx(0.5, abs=2 * tolerance)
    # light is clipped after the exposure
    assert taken(grey, exposure=5.0).min() == 1
    # the sensor's noise is after the blur: neighbours' noise is independent
    noise = taken(torch.full((1, 128, 128), 0.5), defocus=0.05, noise=1.0)[0]
    noise = noise - noise.mean()
    assert (noise[1:] * noise[:-1]).mean().abs() < 0.05 * noise.var()


def test_light_is_added_where_the_glare_is() -> None:
    spot = taken(torch.zeros(1, 64, 64), glare=0.8, glare_first=0.5, glare_second=-0.25, glare_radius=0.2)[0]
    place = (spot == spot.max()).nonzero().float().mean(0)
    assert (place - torch.tensor([47.5, 23.5])).abs().max() < 1.5
    assert spot.max() == pytest.approx(0.8, abs=0.02)
    offset = 0.2 * 32 * math.sqrt(2 * math.log(2))  # where a Gaussian has half its height
    assert spot[round(47.5 + offset), 23] == pytest.approx(0.8 * 0.5 ** (1 / 2.2), abs=0.03)


def test_kernels_have_their_shapes() -> None:
    for still in defocus_kernel(0.0), defocus_kernel(0.4), motion_kernel(0.0, 30.0):
        assert torch.equal(still[still > 0], torch.ones(1))
    disc = defocus_kernel(3.0)
    assert disc.sum() == pytest.approx(1)
    assert 1 / disc.max() == pytest.approx(math.pi * 3**2, rel=0.1)  # its area
    line = motion_kernel(6.0, 0.0)
    assert line[3].sum() == pytest.approx(1)  # a row
    assert line[3, 2:5].std() < 0.02 * line[3, 3]
    torch.testing.assert_close(motion_kernel(6.0, 90.0), line.T, atol=1e-4, rtol=0)
    slope = motion_kernel(6.0, 45.0)
    torch.testing.assert_close(slope, slope.T, atol=1e-5, rtol=0)
    point = torch.zeros(1, 15, 15)
    point[0, 7, 7] = 1
    torch.testing.assert_close(filtered(point, line)[0, 4:11, 4:11], line)


def test_the_vignette_darkens_corners() -> None:
    share = vignette((33, 65), 0.6)
    assert share.max() == share[16, 32] == 1
    assert share[0, 0] == share[-1, -1] == pytest.approx(0.4)


def test_the_sensors_noise_grows_with_the_light() -> None:
    for light in 0.0, 0.25, 1.0:
        noise = sensor_noise(torch.full((1, 300, 300), light), 0.01, 0.08, seed=0)
        assert noise.var() == pytest.approx(0.01**2 + 0.08**2 * light, rel=0.03)
        assert noise.mean().abs() < 1e-3


def test_jpeg_loses_more_at_a_lower_quality() -> None:
    image, _ = discs()
    errors = [(compress(image, quality) - image).abs().max() for quality in (100, 60, 10)]
    assert errors[0] < 2 / 255
    assert errors[0] < errors[1] < errors[2]


def test_a_colour_cast_is_of_three_channels_only() -> None:
    grey = torch.full((3, 32, 32), 0.5)
    cast = taken(grey, red=0.2, blue=-0.2)
    red, green, blue = cast.mean((1, 2)).tolist()
    assert red == pytest.approx(0.5 * 1.2 ** (1 / 2.2), abs=0.01)
    assert green == pytest.approx(0.5, abs=0.01)
    assert blue == pytest.approx(0.5 * 0.8 ** (1 / 2.2), abs=0.01)
    assert taken(grey[:1], red=0.2).mean() == pytest.approx(0.5, abs=0.01)


def test_a_higher_strength_is_the_same_photograph_stronger() -> None:
    half, whole = (asdict(ScreenPhoto.draw(strength, np.random.RandomState(5))) for strength in (0.5, 1.0))
    fixed = {
        "grid_frequency",
        "grid_phase",
        "glare_first",
        "glare_second",
        "glare_radius",
        "motion_angle",
        "noise_seed",
    }
    for name in whole:
        assert whole[name] == pytest.approx(half[name] * (1 if name in fixed else 2)), name
    none = asdict(ScreenPhoto.draw(0.0, np.random.RandomState(5)))
    assert {name for name, value in none.items() if value} == fixed


def test_the_random_state_decides_and_the_record_takes_the_same_photograph() -> None:
    image, label = discs()
    transform = RandScreenPhotod(BOTH, MODES, strength=(0.2, 1.0), intensity_range=(0.0, 1.0))

    def three() -> list[dict[str, Any]]:
        transform.set_random_state(3)
        return [transform({"image": image, "label": label}) for _ in range(3)]

    first, again = three(), three()
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(first, again))
    assert not torch.equal(first[0]["image"], first[1]["image"])
    assert len({item["screen_photo"]["strength"] for item in first}) == 3
    one = ScreenPhoto(**first[1]["screen_photo"])
    assert torch.equal(one.take(image, one.places((128, 128))), first[1]["image"])


def test_an_image_of_any_values_keeps_its_range_or_its_mean_and_deviation() -> None:
    image = torch.randn(3, 48, 48) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1) + 7
    plain = RandScreenPhotod("image", strength=1.0).set_random_state(0)({"image": image})["image"]
    assert image.min() - 1e-4 <= plain.min() <= plain.max() <= image.max() + 1e-4
    out = RandScreenPhotod("image", strength=1.0, retain_stats=True).set_random_state(0)({"image": image})["image"]
    torch.testing.assert_close(out.mean((1, 2)), image.mean((1, 2)), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.std((1, 2)), image.std((1, 2)), atol=1e-3, rtol=0)
    flat = RandScreenPhotod("image", strength=1.0, retain_stats=True)({"image": torch.full((1, 48, 48), 4.0)})["image"]
    assert flat.isfinite().all()


def test_meta_data_stays() -> None:
    image = MetaTensor(torch.rand(1, 32, 32), meta={"filename_or_obj": "a.png"})
    out = RandScreenPhotod("image", strength=1.0)({"image": image})["image"]
    assert out.meta["filename_or_obj"] == "a.png"


def test_items_with_and_without_a_photograph_make_a_batch() -> None:
    transform = RandScreenPhotod("image", prob=0.5).set_random_state(0)
    items = [transform({"image": torch.rand(1, 32, 32)}) for _ in range(8)]
    batch = list_data_collate(items)
    strengths = batch["screen_photo"]["strength"]
    assert 0 < (strengths == 0).sum() < 8
    assert decollate_batch(batch)[3]["screen_photo"]["strength"] == pytest.approx(strengths[3].item())


@pytest.mark.parametrize("shape", [(1, 16, 16, 4), (2, 16, 16)])
def test_what_a_screen_does_not_show_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(1, H, W\) or \(3, H, W\)"):
        RandScreenPhotod("image", strength=0)({"image": torch.rand(shape)})


@pytest.mark.parametrize(
    "setting", [{"strength": 1.2}, {"strength": (0.6, 0.2)}, {"mode": "cubic"}, {"intensity_range": (1, 1)}]
)
def test_settings_that_do_not_fit_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} is"):
        RandScreenPhotod("image", **setting)


def test_a_real_image_is_photographed(data_dir) -> None:
    from flemme_monai.data import split_datalist
    from flemme_monai.transforms import LoadImageAndLabeld

    case = split_datalist(data_dir / "nuclei", "segmentation", 2, 1, 2, 128)["test"][0]
    item = LoadImageAndLabeld(1, 2)(case)
    out = RandScreenPhotod(BOTH, MODES, strength=0.4).set_random_state(0)(item)
    assert out["image"].shape == item["image"].shape
    assert set(out["label"].unique().tolist()) <= {0, 1}
    moved = (
        2 * ((out["label"] > 0) & (item["label"] > 0)).sum() / ((out["label"] > 0).sum() + (item["label"] > 0).sum())
    )
    assert moved < 0.95
