"""2.5D input: neighbouring slices as channels."""

from __future__ import annotations

import pytest
import torch
from gi_files import loaded, split, write_gi

from flemme_monai.data.neighbours import own_channels, stack_neighbours, with_neighbours


def pictures(*names):
    return [{"image": f"{name}.png", "case": name} for name in names]


def test_a_slice_comes_first_then_the_one_before_and_the_one_after():
    cases = pictures("a/s1", "a/s2", "a/s3", "b/s4")
    with_neighbours(cases, 1)
    assert cases[1]["image"] == ["a/s2.png", "a/s1.png", "a/s3.png"]
    assert cases[0]["image"] == ["a/s1.png", "a/s1.png", "a/s2.png"]  # the first stands in for the one before it
    assert cases[2]["image"] == ["a/s3.png", "a/s2.png", "a/s3.png"]  # b/s4 is of another scan
    assert cases[3]["image"] == ["b/s4.png"] * 3


def test_the_nearest_slice_stands_in_for_a_gap():
    cases = pictures("s09", "s10", "s12")
    with_neighbours(cases, 2)
    assert cases[1]["image"] == ["s10.png", "s09.png", "s10.png", "s09.png", "s12.png"]


def test_images_of_several_channels_keep_them():
    cases = [{"image": [f"s{i}_0.png", f"s{i}_1.png"], "case": f"s{i}"} for i in (1, 2)]
    with_neighbours(cases, 1)
    assert cases[0]["image"] == ["s1_0.png", "s1_1.png", "s1_0.png", "s1_1.png", "s2_0.png", "s2_1.png"]


def test_no_neighbours_change_nothing_and_volumes_stay():
    cases = pictures("a", "b")
    with_neighbours(cases, 0)
    assert cases == pictures("a", "b")
    volumes = [{"image": "a1.nii.gz", "case": "a1"}]
    with_neighbours(volumes, 1)
    assert volumes[0]["image"] == "a1.nii.gz"


def test_images_without_neighbours_are_refused():
    with pytest.raises(ValueError, match=r"no image is beside another .*; expected names that end in the slice's"):
        with_neighbours(pictures("a", "b"), 1)
    with pytest.raises(ValueError, match="phantom is no file; expected 0"):
        with_neighbours([{"image": torch.zeros(1, 2, 2), "case": "phantom"}], 1)


def test_volumes_get_the_same_order_of_channels():
    volume = torch.arange(4.0).expand(1, 2, 2, 4)  # slice i has the value i
    stacked = stack_neighbours(volume, 1)
    assert tuple(stacked.shape) == (3, 2, 2, 4)
    assert stacked[:, 0, 0].tolist() == [[0, 1, 2, 3], [0, 0, 1, 2], [1, 2, 3, 3]]


def test_the_networks_channels_are_those_of_all_slices():
    assert own_channels(5, 2) == 1
    assert own_channels(6, 1) == 2
    assert own_channels(4, 0) == 4
    with pytest.raises(ValueError, match="in_channels is 1 while neighbour_slices is 1; expected a multiple of 3"):
        own_channels(1, 1)
    with pytest.raises(ValueError, match="while spatial_dims is 3; expected 0"):
        own_channels(3, 1, spatial_dims=3)
    with pytest.raises(ValueError, match="neighbour_slices is -1; expected a number from 0"):
        own_channels(1, -1)


def test_slices_of_a_scan_are_loaded_together_under_the_name_of_their_own(tmp_path):
    case = split(write_gi(tmp_path, slices=3), in_channels=3, neighbour_slices=1)["train"][1]
    item = loaded(case, in_channels=3)
    assert item["image"].amax((1, 2)).tolist() == [102, 101, 103]
    assert item["image"].meta["filename_or_obj"].endswith("slice_0002_6_4_1.50_1.60.png")
