"""Cross-entropy of masks that may overlap."""

from __future__ import annotations

import math

import pytest
import torch

from flemme_monai.metrics import BinaryCrossEntropy


def test_each_case_and_class_has_its_mean_over_the_pixels():
    logits = torch.zeros(2, 2, 3, 5)
    logits[0, 1] = math.log(3)  # three to one for the class
    label = torch.zeros(2, 2, 3, 5)
    label[0, 1, :, 0] = 1  # a fifth of the pixels
    metric = BinaryCrossEntropy()
    found = metric(logits, label)
    overlapping = -(0.2 * math.log(3 / 4) + 0.8 * math.log(1 / 4))
    assert found.tolist() == [[pytest.approx(math.log(2)), pytest.approx(overlapping)]] + [
        [pytest.approx(math.log(2))] * 2
    ]
    assert metric.aggregate().item() == pytest.approx((3 * math.log(2) + overlapping) / 4)
