"""Distances between surfaces in mm, by the true spacing of each case."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from .overlap import CaseMean

SURFACE_SCORES = ("surface_distance", "hausdorff95", "surface_dice")


class SurfaceMetric(CaseMean):
    """A metric of the classes' surfaces, as MONAI computes it, of each case in its own spacing.

    MONAI's handlers know no spacing and count voxels. Of pictures, which have none, distances are pixels.

    Args:
        score: ``surface_distance`` (symmetric mean), ``hausdorff95`` (95th percentile), or ``surface_dice``: share of
            both surfaces that lies within the tolerance of the other (Nikolov et al. 2021).
        tolerance: of the surface Dice, mm.

    Raises:
        ValueError: If the score is unknown, or the tolerance negative.
    """

    def __init__(self, score: str, tolerance: float = 1.0) -> None:
        super().__init__()
        if score not in SURFACE_SCORES:
            raise ValueError(f"score is {score!r}; expected one of {', '.join(SURFACE_SCORES)}")
        if not tolerance >= 0:
            raise ValueError(f"tolerance is {tolerance}; expected mm from 0: set surface_tolerance to a voxel's length")
        self.score, self.tolerance = score, tolerance

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """One-hot segmentations (B, C, *S) to (B, C - 1), without the background."""
        spacing = _spacing(y)
        plain, labels = (torch.as_tensor(classes).as_subclass(torch.Tensor) for classes in (y_pred, y))
        if self.score == "surface_dice":
            compute = partial(compute_surface_dice, class_thresholds=[self.tolerance] * (y.shape[1] - 1))
        elif self.score == "hausdorff95":
            compute = partial(compute_hausdorff_distance, percentile=95)
        else:
            compute = partial(compute_average_surface_distance, symmetric=True)
        found = compute(plain, labels, include_background=False, spacing=spacing)
        return torch.as_tensor(found)


def _spacing(labels: torch.Tensor) -> list[float] | None:
    """mm along each axis of labels (1, C, *S) of one case; None of a picture, or without an affine."""
    if not isinstance(labels, MetaTensor) or labels.ndim != 5:
        return None
    affine = np.asarray(labels.affine.cpu()).reshape(-1, 4, 4)[0]
    return np.linalg.norm(affine[:3, :3], axis=0).tolist()
