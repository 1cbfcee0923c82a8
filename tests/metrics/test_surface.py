"""Distances in mm."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import SurfaceDistanceMetric

from flemme_monai.metrics import HausdorffDistance, SurfaceDistance


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
