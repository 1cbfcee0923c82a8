"""Distances between surfaces in mm against closed forms."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.metrics import SurfaceMetric


def cubes(spacing, shift=2, dims=3):
    """One-hot labels of a cube, and the same moved along the last axis; in this spacing."""
    label = torch.zeros(1, 2, *[16] * dims)
    inside = (slice(4, 10),) * dims
    label[(0, 1, *inside)] = 1
    label[0, 0] = 1 - label[0, 1]
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return label.roll(shift, -1), MetaTensor(label, affine=affine)


@pytest.mark.parametrize("length", [1.0, 2.5])
def test_a_moved_cube_is_so_many_mm_away(length):
    pred, label = cubes((1.0, 1.0, length), shift=2)
    found = {name: SurfaceMetric(name)(pred, label).item() for name in ("hausdorff95", "surface_distance")}
    assert found["hausdorff95"] == pytest.approx(2 * length)
    assert 0 < found["surface_distance"] < 2 * length


def test_the_surface_dice_is_1_within_the_tolerance():
    pred, label = cubes((1.0, 1.0, 2.5), shift=1)
    assert SurfaceMetric("surface_dice", tolerance=2.5)(pred, label).item() == 1
    assert SurfaceMetric("surface_dice", tolerance=2.4)(pred, label).item() < 1
    assert SurfaceMetric("surface_dice", tolerance=0)(label, label).item() == 1


def test_pictures_count_pixels():
    pred, label = cubes((3.0, 3.0, 3.0), shift=2, dims=2)
    assert SurfaceMetric("hausdorff95")(pred, label).item() == 2


def test_cases_that_come_in_a_list_have_their_own_spacing():
    metric = SurfaceMetric("hausdorff95")
    pairs = [cubes((1.0, 1.0, 1.0)), cubes((1.0, 1.0, 4.0))]
    metric([pred[0] for pred, _ in pairs], [label[0] for _, label in pairs])
    assert metric.get_buffer().flatten().tolist() == [2, 8]
    assert metric.aggregate().item() == 5


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="score is 'hd'; expected one of"):
        SurfaceMetric("hd")
    with pytest.raises(ValueError, match="tolerance is -1; expected mm from 0"):
        SurfaceMetric("surface_dice", tolerance=-1)
