"""Distances between surfaces in mm, by the affine of the label, and how much of them is near enough."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor, affine_to_spacing
from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric, compute_surface_dice

from .overlap import CaseMean


class SurfaceDistance(SurfaceDistanceMetric):
    """MONAI's mean surface distance, which takes a spacing that its handler cannot give, in mm."""

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """One-hot segmentations or masks (B, C, *S) to (B, C), or (B, C - 1) without the background."""
        return super()._compute_tensor(y_pred, y, spacing=spacing_of(y), **kwargs)


class HausdorffDistance(HausdorffDistanceMetric):
    """MONAI's Hausdorff distance, which takes a spacing that its handler cannot give, in mm."""

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """One-hot segmentations or masks (B, C, *S) to (B, C), or (B, C - 1) without the background."""
        return super()._compute_tensor(y_pred, y, spacing=spacing_of(y), **kwargs)


class SurfaceDice(CaseMean):
    """The share of both surfaces that lies within a tolerance of the other (Nikolov et al. 2021), as MONAI computes it.

    MONAI's metric wants a tolerance per class, and its handler knows no spacing.

    Args:
        tolerance: mm; pixels of pictures whose spacing is not known.
        include_background: whether class 0 counts, as it does where it is not the background.

    Raises:
        ValueError: If the tolerance is negative.
    """

    def __init__(self, tolerance: float = 1.0, include_background: bool = False) -> None:
        super().__init__()
        if not tolerance >= 0:
            raise ValueError(f"tolerance is {tolerance}; expected mm from 0: set surface_tolerance to a voxel's length")
        self.tolerance, self.include_background = tolerance, include_background

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """One-hot segmentations or masks (B, C, *S) to (B, C), or (B, C - 1) without the background."""
        count = y.shape[1] - (not self.include_background)
        pred, label = (torch.as_tensor(classes).as_subclass(torch.Tensor) for classes in (y_pred, y))
        spacing = spacing_of(y)
        return compute_surface_dice(pred, label, [self.tolerance] * count, self.include_background, spacing=spacing)


def spacing_of(label: torch.Tensor) -> list[float]:
    """The spacing of a label (B, C, *S) along each axis: of its affine, 1 for pictures that have none."""
    axes = label.ndim - 2
    if not isinstance(label, MetaTensor):
        return [1.0] * axes
    affine = label.affine.reshape(-1, *label.affine.shape[-2:])[0]  # (4, 4), with a batch (B, 4, 4)
    return [float(length) for length in affine_to_spacing(affine, axes)]
