"""Interpolation between two noises, two seeds and two images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_picture
from monai.transforms import Compose, ScaleIntensityd

from flemme_monai.diffusion import ImageInterpolation, InitialNoise, SeedInterpolation, initial_noise, interpolate
from flemme_monai.transforms import LoadImageAndLabeld, ResizeImaged

READ = Compose([LoadImageAndLabeld(1), ScaleIntensityd("image", -1.0, 1.0), ResizeImaged("image", 16, 2)])


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        write_picture(path, random_picture(seed, (20, 24)))
    return [str(path) for path in paths]


def test_between_two_seeds_are_both_noises_and_none_is_shorter():
    data = SeedInterpolation([3, 17], 5, (4, 8, 8))
    assert len(data) == 5
    torch.testing.assert_close(data[0]["image"], initial_noise((4, 8, 8), 3))
    torch.testing.assert_close(data[4]["image"], initial_noise((4, 8, 8), 17))
    assert data[2]["image"].norm().item() == pytest.approx(data[0]["image"].norm().item(), rel=0.1)
    assert data[1].keys() == InitialNoise(1, (4, 8, 8))[0].keys()


def test_an_interpolation_has_one_class():
    assert [SeedInterpolation([0, 1], 3, (1, 4, 4), 6, 2)[i]["class_label"] for i in range(3)] == [2, 2, 2]
    for label in (None, [0, 1, 2]):
        with pytest.raises(ValueError, match="expected one of 0 to 5, since an interpolation has one class"):
            SeedInterpolation([0, 1], 3, (1, 4, 4), 6, label)


@pytest.mark.parametrize("ends", [None, 3, [3], [1, 2, 3], ["a.png", 3], "ab"])
def test_what_is_no_pair_of_seeds_is_refused(ends):
    with pytest.raises(ValueError, match="expected two seeds"):
        SeedInterpolation(ends, 3, (1, 4, 4))


def test_both_images_are_read_as_the_transform_says(pictures):
    data = ImageInterpolation(pictures, 3, READ, spatial_dims=2)
    assert [float(data[i]["weight"]) for i in range(len(data))] == [0, 0.5, 1]
    expected = [READ({"image": path})["image"].as_tensor() for path in pictures]
    assert torch.equal(data[1]["image"], expected[0])
    assert torch.equal(data[1]["other"], expected[1])


def test_both_images_are_of_one_class(pictures):
    data = ImageInterpolation(pictures, 3, READ, spatial_dims=2, num_classes=4, class_label=2)
    assert [int(data[i]["class_label"]) for i in range(3)] == [2, 2, 2]
    assert "class_label" not in ImageInterpolation(pictures, 3, READ, spatial_dims=2)[0]


def test_an_auto_encoder_has_no_seeds():
    with pytest.raises(
        ValueError, match=r"interpolate_between is \[3, 17\]; expected two image files.*no prior to draw"
    ):
        ImageInterpolation([3, 17], 3, READ, spatial_dims=2)


def test_a_missing_image_is_named(pictures):
    with pytest.raises(FileNotFoundError, match=r"c\.png: no such file"):
        ImageInterpolation([pictures[0], "c.png"], 3, READ, spatial_dims=2)


def test_a_volume_is_no_end_of_a_2d_network(pictures, tmp_path):
    write_nifti(tmp_path / "v.nii.gz", np.random.default_rng(0).random((20, 24, 5)).astype(np.float32))
    with pytest.raises(ValueError, match=r"v\.nii\.gz: has 3 axes and the network 2"):
        ImageInterpolation([pictures[0], str(tmp_path / "v.nii.gz")], 3, READ, spatial_dims=2)


def test_a_single_point_is_no_interpolation(pictures):
    with pytest.raises(ValueError, match="steps is 1"):
        ImageInterpolation(pictures, 1, READ, spatial_dims=2)


def test_positions_take_turns():
    data = InitialNoise(5, (1, 4, 4), position=[2, 7])
    assert [data[i]["slice"] for i in range(5)] == [2, 7, 2, 7, 2]
    assert InitialNoise(2, (1, 4, 4), position=0)[1]["slice"] == 0
    for wrong in (-1, [], ["2"]):
        with pytest.raises(ValueError, match="expected the index of a slice"):
            InitialNoise(2, (1, 4, 4), position=wrong)


def test_classes_take_turns_also_when_they_do_not_fit_evenly():
    data = InitialNoise(8, (1, 4, 4), num_classes=3)
    assert [data[i]["class_label"] for i in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("spherical", [False, True])
def test_an_interpolation_has_both_ends(spherical):
    a, b = initial_noise((1, 8, 8), 0), initial_noise((1, 8, 8), 1)
    found = interpolate(a, b, 5, spherical)
    assert found.shape == (5, 1, 8, 8)
    torch.testing.assert_close(found[0], a)
    torch.testing.assert_close(found[-1], b)


def test_latents_are_interpolated_linearly():
    a, b = torch.rand(2, 3, 3, 3).unbind(0)
    torch.testing.assert_close(interpolate(a, b, 5)[1], 0.75 * a + 0.25 * b)


def test_noises_keep_their_norm_and_turn_by_equal_angles():
    a, b = initial_noise((1, 32, 32), 0), initial_noise((1, 32, 32), 1)
    found = interpolate(a, b, 9, spherical=True).flatten(1)
    torch.testing.assert_close(found.norm(dim=1), torch.full((9,), 32.0), rtol=0.05, atol=0)
    angles = torch.cosine_similarity(found[1:], found[:-1]).arccos()
    torch.testing.assert_close(angles, angles.mean().expand(8), rtol=0.05, atol=0)
    assert interpolate(a, b, 9)[4].norm() < 25  # a straight line passes through what is no noise


def test_a_noise_and_itself_are_interpolated_without_turns():
    a = initial_noise((1, 4, 4), 0)
    torch.testing.assert_close(interpolate(a, a, 3, spherical=True), a.expand(3, 1, 4, 4))


def test_unequal_shapes_and_one_step_are_refused():
    with pytest.raises(ValueError, match="expected one shape"):
        interpolate(torch.zeros(2), torch.zeros(3), 4)
    with pytest.raises(ValueError, match="steps is 1"):
        interpolate(torch.zeros(2), torch.zeros(2), 1)
