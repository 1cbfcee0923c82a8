"""Agreement of the connected parts of segmentations, and overlap of probabilities."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from .overlap import CaseMean


class AdjustedRandIndex(CaseMean):
    """Adjusted Rand index (Hubert and Arabie 1985) of the connected parts of each class in prediction and label.

    Two voxels agree when they lie in one part in both, or in none; the background is a part like any other. 1 is the
    same partition, 0 what chance gives: unlike Dice it falls when two cells are merged into one. Parts are connected
    over corners too, as in Flemme. A class that neither has is 1.

    Args:
        include_background: whether class 0 counts.
    """

    def __init__(self, include_background: bool = False) -> None:
        super().__init__()
        self.include_background = include_background

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # labels are required here
        """One-hot segmentations (B, C, *S) to the index of each case and class (B, C)."""
        first = 0 if self.include_background else 1
        pairs = ((np.asarray(p[first:].cpu()), np.asarray(t[first:].cpu())) for p, t in zip(y_pred, y))
        return torch.tensor([[_index(a != 0, b != 0) for a, b in zip(p, t)] for p, t in pairs])


def _index(pred: np.ndarray, truth: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    corners = np.ones((3,) * pred.ndim, int)
    parts = [ndimage.label(mask, structure=corners)[0].ravel() for mask in (pred, truth)]
    return float(adjusted_rand_score(*parts))


class SoftDice(CaseMean):
    """Dice of probabilities, 2 sum(p y) / (sum(p²) + sum(y²)), of each case and class (V-Net, Milletari et al. 2016).

    It falls where a network is unsure of what it says rightly. A class that the label does not have is not defined.

    Args:
        include_background: whether class 0 counts.
    """

    def __init__(self, include_background: bool = False) -> None:
        super().__init__()
        self.include_background = include_background

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # labels are required here
        """Probabilities and masks (B, C, *S) to the overlap of each case and class (B, C)."""
        first = 0 if self.include_background else 1
        p, t = (x[:, first:].flatten(2).double() for x in (y_pred, y))
        overlap = 2 * (p * t).sum(-1) / (p.square().sum(-1) + t.square().sum(-1))
        return torch.where(t.sum(-1) > 0, overlap, torch.nan).float()
