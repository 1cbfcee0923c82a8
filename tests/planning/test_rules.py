"""The rules of planning against nnU-Net's numbers and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from flemme_monai.planning.planner import check_request
from flemme_monai.planning.rules import first_patch, fit_budget, fitted, median_shape, smaller, target_spacing, topology


def test_the_target_is_the_median_spacing():
    spacings = np.array([[1.0, 1, 1], [1, 1, 2], [1, 1, 1.5]])
    found = target_spacing(spacings, np.full((3, 3), 64))
    assert found.target == [1.0, 1.0, 1.5]
    assert found.coarse_axis is None


def test_a_coarse_short_axis_gets_its_10th_percentile():
    """As nnU-Net: spacing above 3 times the others' and less than a third of their voxels."""
    spacings = np.array([[1.0, 1, depth] for depth in (4, 5, 6, 7, 8)])
    found = target_spacing(spacings, np.array([[256, 256, 20]] * 5))
    assert found.target == [1.0, 1.0, 4.4]
    assert found.coarse_axis == 2
    long = target_spacing(spacings, np.array([[50, 50, 20]] * 5))  # the axis is not short
    assert long.target == [1.0, 1.0, 6.0]


def test_the_10th_percentile_is_never_finer_than_the_other_axes():
    spacings = np.array([[1.0, 1, depth] for depth in (0.5, 5, 6, 7, 8)])
    assert target_spacing(spacings, np.array([[256, 256, 20]] * 5)).target == [1.0, 1.0, 2.3]
    fine = np.array([[1.0, 1, depth] for depth in (0.5, 0.5, 6, 7, 8)])
    assert target_spacing(fine, np.array([[256, 256, 20]] * 5)).target[2] == 1.0


def test_the_hippocampus_has_the_patch_and_stages_of_nnunet():
    """nnU-Net 2.8.1 plans a patch of 40x56x40 for it, with three halvings."""
    stages = topology([1.0, 1.0, 1.0], [35, 50, 35])
    assert stages.strides == [[2, 2, 2]] * 3
    assert stages.total == [8, 8, 8]
    assert fitted(first_patch([1, 1, 1], [35, 50, 35]), stages.total) == [40, 56, 40]


def test_a_coarse_axis_is_halved_later_and_has_flat_kernels_until_then():
    stages = topology([1.0, 1.0, 4.0], [64, 64, 16])
    assert stages.strides == [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]]
    assert stages.kernels == [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
    assert stages.total == [16, 16, 4]


def test_stages_are_no_more_than_asked_and_an_axis_keeps_four_positions():
    assert len(topology([1, 1, 1], [512, 512, 512]).kernels) == 6
    assert topology([1, 1, 1], [8, 8, 4]).strides == [[2, 2, 1]]
    assert topology([1, 1, 1], [7, 7, 7]).strides == []


def test_a_patch_is_as_long_in_mm_along_each_axis():
    patch = first_patch([1.0, 1.0, 4.0], [10_000] * 3)
    assert patch[0] == patch[1] == pytest.approx(4 * patch[2], abs=2)
    assert np.prod(patch) == pytest.approx(256**3, rel=0.02)
    assert median_shape(np.array([[2.0, 2, 2]]), np.array([[10, 10, 10]]), [1, 1, 1]) == [20, 20, 20]


def test_the_axis_that_shows_most_of_the_case_is_cut_first():
    assert smaller([64, 64, 64], [64, 128, 256], [16, 16, 16]) == [48, 64, 64]
    assert smaller([16, 16], [64, 64], [16, 16]) is None


def budget(limit: int, most: int = 10**9, fewest: int = 2):
    """A patch costs a byte a voxel, its network 1000."""
    return fit_budget([64, 64], [64, 64], limit, lambda _: [16, 16], lambda p: (1000, int(np.prod(p))), most, fewest)


def test_memory_decides_the_patch_and_what_is_left_the_batch():
    assert budget(1000 + 2 * 4096).patch == [64, 64]
    assert budget(1000 + 2 * 4096).batch == 2
    assert budget(1000 + 5 * 4096 + 4095).batch == 5
    assert budget(1000 + 2 * 4095).patch == [48, 64]
    assert budget(1000 + 100 * 4096, most=3 * 4096).batch == 3  # of a small data set
    found = budget(1000 + 7 * 4096)
    assert found.used == 1000 + 7 * 4096


def test_a_limit_below_the_smallest_patch_is_refused():
    with pytest.raises(ValueError, match=r"expected at least .* GiB, which 2 patches of 16x16 need"):
        budget(1000 + 2 * 256 - 1)
    assert budget(1000 + 2 * 256).patch == [16, 16]


def test_segmentation_by_diffusion_is_not_planned():
    with pytest.raises(ValueError, match="'dsem_unet', which is made by hand; expected a planned segmentation"):
        check_request("dsem_unet", 8.0)
    check_request("hsem_unet", 8.0)
