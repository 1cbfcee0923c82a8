"""What features are like, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from flemme_monai.metrics import alignment, feature_spread, neighbour_recall, uniformity


def test_alignment_of_known_pairs():
    first = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    assert alignment(first, 3 * first) == 0
    assert alignment(first, first.flip(0)) == pytest.approx(2)  # at right angles
    assert alignment(first, -first) == pytest.approx(4)
    halfway = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert alignment(first, halfway) == pytest.approx((2 - math.sqrt(2)) / 2)


def test_uniformity_of_known_points():
    assert uniformity(torch.tensor([[1.0, 0.0], [4.0, 0.0], [2.0, 0.0]])) == 0  # one point
    assert uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(-8)  # opposite: d^2 = 4
    right = torch.eye(3)  # three pairs at d^2 = 2
    assert uniformity(right) == pytest.approx(-4)
    mixed = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(mixed) == pytest.approx(math.log((1 + 2 * math.exp(-8)) / 3))


def test_uniformity_of_an_even_spread_in_many_dimensions_is_nearly_minus_4():
    assert uniformity(torch.randn(500, 256)) == pytest.approx(-4, abs=0.1)


def test_uniformity_needs_pairs():
    with pytest.raises(ValueError, match="features are of 1 images; expected 2 or more"):
        uniformity(torch.ones(1, 4))


def test_feature_spread_is_0_for_collapsed_features_and_1_for_spread_ones():
    assert feature_spread(torch.rand(20, 1) * torch.ones(20, 8)) == pytest.approx(0, abs=1e-9)  # one direction
    assert feature_spread(torch.randn(2000, 64)) == pytest.approx(1, abs=0.02)
    assert feature_spread(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(1)


def test_neighbours_find_classes_by_direction():
    centres = torch.eye(3)
    classes = torch.arange(3).repeat(20)
    reference = centres[classes] + 0.05 * torch.randn(60, 3)
    lengths = torch.rand(60, 1) * 10 + 0.1
    assert neighbour_recall(reference * lengths, classes, reference, classes, k=5) == 1
    assert neighbour_recall(reference, classes, reference, (classes + 1) % 3, k=5) == 0


def test_the_recall_is_the_mean_over_classes_not_over_features():
    reference, known = torch.eye(2), torch.tensor([0, 1])
    queries = torch.tensor([[1.0, 0.1]] * 9 + [[1.0, 0.2]])
    truth = torch.tensor([0] * 9 + [1])  # 9 of 10 are found, none of class 1
    assert neighbour_recall(reference, known, queries, truth, k=1) == 0.5


def test_more_neighbours_than_there_are_take_all():
    assert neighbour_recall(torch.eye(2), torch.tensor([0, 0]), torch.eye(2), torch.tensor([0, 0]), k=20) == 1
