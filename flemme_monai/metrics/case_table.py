"""A metric's values of all cases and classes, and their summary."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import compute_confusion_matrix_metric


def per_case(name: str, details: torch.Tensor) -> np.ndarray:
    """A metric's details as a table.

    Args:
        name: the metric's name; for confusion matrices one that MONAI knows, such as "recall", with or without "val_".
        details: (N,), (N, C), or confusion matrices (N, C, 4).

    Returns:
        Values (N, C).
    """
    if details.ndim == 3 and details.shape[-1] == 4:
        details = compute_confusion_matrix_metric(name.removeprefix("val_").replace("_", " "), details)
    return details.detach().cpu().double().reshape(len(details), -1).numpy()


def summarise(table: dict[str, np.ndarray]) -> list[tuple[str, float, float, int]]:
    """Mean, deviation and number of the finite values of each class, and of each case's mean over several classes.

    Args:
        table: values (N,) of the cases by class.
    """
    parts = dict(table)
    if len(parts) > 1:
        values = np.stack(list(table.values()), 1)  # (N, C)
        finite = np.isfinite(values)
        sums, counts = np.where(finite, values, 0).sum(1), finite.sum(1)
        parts["mean"] = sums[counts > 0] / counts[counts > 0]
    rows = []
    for name, numbers in parts.items():
        kept = numbers[np.isfinite(numbers)]
        mean, std = (kept.mean(), kept.std()) if len(kept) else (np.nan, np.nan)
        rows.append((name, mean, std, len(kept)))
    return rows
