"""Precision and recall tell quality from variety."""

from __future__ import annotations

import pytest
import sklearn
import torch

from flemme_monai.metrics import precision_recall


def modes(count, *centres):
    return torch.cat([torch.randn(count, 2) * 0.1 + torch.tensor(c) for c in centres])


def test_the_same_images_have_both():
    points = torch.randn(40, 5)
    assert precision_recall(points, points) == (1, 1)


def test_a_dropped_mode_costs_recall_only():
    real = modes(200, (0.0, 0.0), (5.0, 0.0))
    precision, recall = precision_recall(real, real[:200] + 0.001)
    assert precision == 1
    assert recall == 0.5


def test_an_invented_mode_costs_precision_only():
    generated = modes(200, (0.0, 0.0), (5.0, 0.0))
    precision, recall = precision_recall(generated[:200] + 0.001, generated)
    assert precision == 0.5
    assert recall == 1


def test_a_ball_reaches_to_the_kth_neighbour():
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    generated = torch.tensor([[11.0], [-1.5], [-30.0], [-40.0]])
    assert precision_recall(real, generated, k=1).precision == 0.25  # 11 by the ball 7 +- 4
    assert precision_recall(real, generated, k=2).precision == 0.5  # -1.5 by the ball 0 +- 3, too


def test_blocks_of_rows_do_not_change_the_result():
    real, generated = torch.randn(50, 3), torch.randn(33, 3)
    whole = precision_recall(real, generated)
    with sklearn.config_context(working_memory=0.002):  # MiB: 5 rows
        assert precision_recall(real, generated) == whole


@pytest.mark.parametrize(("k", "message"), [(0, "k is 0"), (5, "5 real images; expected 6 or more")])
def test_a_neighbour_that_is_not_there_is_refused(k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(torch.rand(5, 2), torch.rand(9, 2), k)
