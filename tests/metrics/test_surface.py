"""Distances in mm."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import SurfaceDistanceMetric

from flemme_monai.metrics import HausdorffDistance, SurfaceDice, SurfaceDistance


def line(row, affine=None):
    """One-hot of a label (2, 8, 8) of one row."""
    labels = torch.zeros(2, 8, 8)
    labels[1, row] = 1
    return labels if affine is None else MetaTensor(labels, affine=affine)


@pytest.mark.parametrize("metric_class", [SurfaceDistance, HausdorffDistance])
def test_a_distance_is_in_the_spacing_of_the_labels_affine(metric_class):
    affine = torch.diag(torch.tensor([1.5, 4.0, 1.0, 1.0], dtype=torch.float64))
    metric = metric_class()
    metric([line(2)], [line(5, affine)])
    assert metric.aggregate().item() == pytest.approx(3 * 1.5)


def test_without_an_affine_it_is_in_pixels_as_monais():
    metrics = [SurfaceDistance(symmetric=True), SurfaceDistanceMetric(symmetric=True)]
    for metric in metrics:
        metric([line(2)], [line(5)])
    assert metrics[0].aggregate().item() == metrics[1].aggregate().item() == 3


def test_volumes_have_three_spacings():
    labels = torch.zeros(2, 4, 4, 8)
    labels[1, ..., 1] = 1
    affine = torch.diag(torch.tensor([1.0, 1.0, 2.5, 1.0], dtype=torch.float64))
    metric = HausdorffDistance()
    metric([labels], [MetaTensor(labels.roll(2, -1), affine=affine)])
    assert metric.aggregate().item() == pytest.approx(5.0)


def cubes(spacing, shift=2, dims=3):
    """One-hot labels of a cube moved along the last axis, and of the cube, in this spacing."""
    label = torch.zeros(1, 2, *[16] * dims)
    label[(0, 1, *(slice(4, 10),) * dims)] = 1
    label[0, 0] = 1 - label[0, 1]
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return label.roll(shift, -1), MetaTensor(label, affine=affine)


def test_the_surface_dice_is_1_within_the_tolerance():
    pred, label = cubes((1.0, 1.0, 2.5), shift=1)
    assert SurfaceDice(tolerance=2.5)(pred, label).item() == 1
    assert SurfaceDice(tolerance=2.4)(pred, label).item() < 1
    assert SurfaceDice(tolerance=0)(label, label).item() == 1


def test_the_surface_dice_counts_class_0_where_it_is_no_background():
    pred, label = cubes((1.0, 1.0, 2.5), shift=1)
    assert SurfaceDice(2.4)(pred, label).shape == (1, 1)
    assert SurfaceDice(2.4, include_background=True)(pred, label).shape == (1, 2)


def test_cases_that_come_in_a_list_have_their_own_spacing():
    metric = HausdorffDistance(percentile=95)
    pairs = [cubes((1.0, 1.0, 1.0)), cubes((1.0, 1.0, 4.0))]
    metric([pred[0] for pred, _ in pairs], [label[0] for _, label in pairs])
    assert metric.get_buffer().flatten().tolist() == [2, 8]


def test_a_class_that_label_and_prediction_lack_has_no_surface_dice():
    _, label = cubes((1.0, 1.0, 1.0))
    none = torch.cat([torch.ones_like(label[:, :1]), torch.zeros_like(label[:, 1:])], 1)
    metric = SurfaceDice()
    metric(none, none)
    assert metric.aggregate().isnan()


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance is -1; expected mm from 0"):
        SurfaceDice(tolerance=-1)
