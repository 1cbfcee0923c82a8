"""The Dice loss without a gradient is MONAI's, in less memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.losses import DiceLoss

from flemme_monai.losses.overlap import OverlapLoss

ROOT = Path(__file__).resolve().parents[2]
LABELS = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
MASKS = {"sigmoid": True, "batch": True}


def problem(masks: bool, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    logits = 9 * torch.randn(2, classes, 7, 6, 5)
    label = torch.rand(2, classes, 7, 6, 5) > 0.5 if masks else torch.randint(0, classes - 1, (2, 1, 7, 6, 5))
    return logits, label.to(torch.uint8)


@pytest.mark.parametrize(
    "arguments",
    [
        LABELS,
        MASKS,
        {**LABELS, "jaccard": True},
        {**MASKS, "jaccard": True},
        {**LABELS, "include_background": True},
        {**LABELS, "smooth_nr": 0.3, "smooth_dr": 2.0},
        {**LABELS, "batch": False},
        {**LABELS, "squared_pred": True},
        {**LABELS, "reduction": "sum"},
        {**LABELS, "weight": [1.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_it_is_monais_with_and_without_a_gradient(arguments: dict) -> None:
    logits, label = problem(masks="sigmoid" in arguments)
    expected = DiceLoss(**arguments)(logits, label)
    torch.testing.assert_close(OverlapLoss(**arguments)(logits, label), expected)
    torch.testing.assert_close(OverlapLoss(**arguments)(logits.requires_grad_(), label), expected)


def test_it_has_monais_gradient() -> None:
    logits, label = problem(masks=False)
    logits.requires_grad_()
    expected, found = (
        torch.autograd.grad(loss(**LABELS)(logits, label), logits)[0] for loss in (DiceLoss, OverlapLoss)
    )
    assert torch.equal(found, expected)


def test_large_logits_do_not_overflow() -> None:
    logits, label = problem(masks=False)
    assert OverlapLoss(**LABELS)(1000 * logits, label).isfinite()


PROGRAM = """
import torch
from flemme_monai.commands.measure import peak_bytes
from flemme_monai.losses.overlap import OverlapLoss
logits, label = torch.randn(1, 4, 160, 160, 160), torch.zeros(1, 1, 160, 160, 160, dtype=torch.uint8)
loss = OverlapLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
print(peak_bytes(lambda: loss(logits, label), torch.device("cpu")) / (4 * 160**3))
"""


@pytest.mark.slow
def test_its_memory_is_that_of_a_few_channels() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 5.5  # MONAI's: 10
