"""The way between two seeds and between two images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_picture
from monai.transforms import Compose, ScaleIntensityd

from flemme_monai.diffusion import ImageWay, SeedWay, StartNoise, start_noise
from flemme_monai.transforms import LoadCased, ResizeImaged

READ = Compose([LoadCased(1), ScaleIntensityd("image", -1.0, 1.0), ResizeImaged("image", 16, 2)])


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        write_picture(path, random_picture(seed, (20, 24)))
    return [str(path) for path in paths]


def test_a_way_between_seeds_has_both_starts_and_none_is_shorter():
    way = SeedWay([3, 17], 5, (4, 8, 8))
    assert len(way) == 5
    torch.testing.assert_close(way[0]["image"], start_noise((4, 8, 8), 3))
    torch.testing.assert_close(way[4]["image"], start_noise((4, 8, 8), 17))
    assert way[2]["image"].norm().item() == pytest.approx(way[0]["image"].norm().item(), rel=0.1)
    assert way[1].keys() == StartNoise(1, (4, 8, 8))[0].keys()


def test_a_way_has_one_class():
    assert [SeedWay([0, 1], 3, (1, 4, 4), 6, 2)[i]["class_label"] for i in range(3)] == [2, 2, 2]
    for label in (None, [0, 1, 2]):
        with pytest.raises(ValueError, match="has one class: set class_label to one of 0 to 5"):
            SeedWay([0, 1], 3, (1, 4, 4), 6, label)


@pytest.mark.parametrize("ends", [None, 3, [3], [1, 2, 3], ["a.png", 3], "ab"])
def test_what_is_no_pair_of_seeds_is_refused(ends):
    with pytest.raises(ValueError, match="expected two seeds"):
        SeedWay(ends, 3, (1, 4, 4))


def test_both_images_are_read_as_the_transform_says(pictures):
    way = ImageWay(pictures, 3, READ, spatial_dims=2)
    assert [float(way[i]["weight"]) for i in range(len(way))] == [0, 0.5, 1]
    expected = [READ({"image": path})["image"].as_tensor() for path in pictures]
    assert torch.equal(way[1]["image"], expected[0])
    assert torch.equal(way[1]["other"], expected[1])


def test_both_images_are_of_one_class(pictures):
    way = ImageWay(pictures, 3, READ, spatial_dims=2, num_classes=4, class_label=2)
    assert [int(way[i]["class_label"]) for i in range(3)] == [2, 2, 2]
    assert "class_label" not in ImageWay(pictures, 3, READ, spatial_dims=2)[0]


def test_an_auto_encoder_has_no_seeds():
    with pytest.raises(ValueError, match=r"between is \[3, 17\]; expected two image files.*no prior to draw"):
        ImageWay([3, 17], 3, READ, spatial_dims=2)


def test_a_missing_image_is_named(pictures):
    with pytest.raises(FileNotFoundError, match=r"c\.png: no such file"):
        ImageWay([pictures[0], "c.png"], 3, READ, spatial_dims=2)


def test_a_volume_is_no_end_of_a_2d_network(pictures, tmp_path):
    write_nifti(tmp_path / "v.nii.gz", np.random.default_rng(0).random((20, 24, 5)).astype(np.float32))
    with pytest.raises(ValueError, match=r"v\.nii\.gz: has 3 axes and the network 2"):
        ImageWay([pictures[0], str(tmp_path / "v.nii.gz")], 3, READ, spatial_dims=2)


def test_a_single_point_is_no_way(pictures):
    with pytest.raises(ValueError, match="steps is 1"):
        ImageWay(pictures, 1, READ, spatial_dims=2)


def test_positions_take_turns():
    data = StartNoise(5, (1, 4, 4), position=[2, 7])
    assert [data[i]["slice"] for i in range(5)] == [2, 7, 2, 7, 2]
    assert StartNoise(2, (1, 4, 4), position=0)[1]["slice"] == 0
    for wrong in (-1, [], ["2"]):
        with pytest.raises(ValueError, match="expected the index of a slice"):
            StartNoise(2, (1, 4, 4), position=wrong)


def test_classes_take_turns_also_when_they_do_not_fit_evenly():
    data = StartNoise(8, (1, 4, 4), num_classes=3)
    assert [data[i]["class_label"] for i in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]
