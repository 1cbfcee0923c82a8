"""Agreement of connected parts, and overlap of probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from monai.networks import one_hot

from flemme_monai.metrics import AdjustedRandIndex, SoftDice


def masks(*rows: str) -> torch.Tensor:
    """A segmentation (1, 2, H, W) of rows of 0 and 1."""
    return one_hot(torch.tensor([[[[int(value) for value in row] for row in rows]]]).float(), 2)


TWO = masks("1101", "1101", "0000")


def test_the_index_of_parts_falls_where_two_are_merged() -> None:
    # truth: parts of 4, 2 and 6 pixels (of background); merged over the gap of 2: 8 and 4
    together = math.comb(4, 2) + math.comb(2, 2) + math.comb(2, 2) + math.comb(4, 2)
    truth, found = math.comb(4, 2) + math.comb(2, 2) + math.comb(6, 2), math.comb(8, 2) + math.comb(4, 2)
    chance = truth * found / math.comb(12, 2)
    expected = (together - chance) / ((truth + found) / 2 - chance)
    metric = AdjustedRandIndex()
    assert metric(masks("1111", "1111", "0000"), TWO).item() == pytest.approx(expected)
    assert metric(TWO, TWO).item() == 1.0
    assert metric(masks("0000", "0000", "0000"), TWO).item() == 0.0  # one part says nothing about the truth
    assert metric.aggregate().item() == pytest.approx((expected + 1) / 3)


def test_a_class_that_neither_has_agrees() -> None:
    empty = masks("00", "00")
    assert AdjustedRandIndex()(empty, empty).item() == 1.0
    assert AdjustedRandIndex(include_background=True)(empty, empty).shape == (1, 2)


def test_parts_that_touch_at_corners_are_one() -> None:
    corner = masks("10", "01")
    assert AdjustedRandIndex()(corner, corner).item() == 1.0
    assert AdjustedRandIndex()(corner, masks("10", "00")).item() < 1.0


def test_the_overlap_of_probabilities() -> None:
    label = one_hot(torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]]), 2)
    sure, unsure = label.clone(), 0.5 * torch.ones_like(label)
    assert SoftDice()(sure, label).item() == 1.0
    assert SoftDice()(unsure, label).item() == pytest.approx(2 * 1.0 / (4 * 0.25 + 2))
    absent = one_hot(torch.zeros(1, 1, 1, 4), 2)
    assert math.isnan(SoftDice()(unsure, absent).item())
