"""Distances between surfaces in mm, by the affine of the label."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor, affine_to_spacing
from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric


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


def spacing_of(label: torch.Tensor) -> list[float]:
    """The spacing of a label (B, C, *S) along each axis: of its affine, 1 for pictures that have none."""
    axes = label.ndim - 2
    if not isinstance(label, MetaTensor):
        return [1.0] * axes
    affine = label.affine.reshape(-1, *label.affine.shape[-2:])[0]  # (4, 4), with a batch (B, 4, 4)
    return [float(length) for length in affine_to_spacing(affine, axes)]
