"""Weighted sums of losses between images, of which each term is known for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.losses import SSIMLoss
from torch import nn

from ..metrics.structural_similarity import StructuralSimilarity
from .terms import WeightedLosses

IMAGE_LOSSES = ("mse", "l1", "smooth_l1", "ssim")


class StructuralSimilarityLoss(SSIMLoss):
    """MONAI's ``SSIMLoss`` with a window that is no larger than the image, as coarse levels of a network are small.

    Args: as of ``SSIMLoss``.
    """

    def __init__(self, spatial_dims: int, data_range: float = 1.0, **more: Any) -> None:
        super().__init__(spatial_dims, data_range, **more)
        self.ssim_metric = StructuralSimilarity(
            spatial_dims, data_range, self.kernel_type, self.kernel_size, self.kernel_sigma, self.k1, self.k2
        )


class ImageLoss(WeightedLosses):
    """A weighted sum of losses of an image (B, C, *S) and its target.

    Args:
        terms: the losses: ``mse``, ``l1``, ``smooth_l1`` or ``ssim`` (1 - structural similarity), or
            ``{"loss": ..., "weight": ...}`` with a name, or a loss, and what it is multiplied by (1 by default); beside
            them stand arguments of a loss that is named.
        spatial_dims: 2 or 3, of ``ssim``.
        data_range: highest less lowest value of the images, of ``ssim``.

    Attributes:
        recorded: of the last call, each term times its weight, by name.

    Raises:
        ValueError: If there is no term, one is none of these, or a weight is not above 0.
    """

    def __init__(
        self, terms: Sequence[str | Mapping[str, Any]] = ("mse",), spatial_dims: int = 2, data_range: float = 1.0
    ) -> None:
        known: dict[str, Callable[..., nn.Module]] = {
            "mse": nn.MSELoss,
            "l1": nn.L1Loss,
            "smooth_l1": nn.SmoothL1Loss,
            "ssim": partial(StructuralSimilarityLoss, spatial_dims=spatial_dims, data_range=data_range),
        }
        super().__init__(terms, known, "['l1', 'ssim']")

    def value(self, loss: nn.Module, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A loss's own number, of one without a reduction its mean."""
        return loss(input, target).mean()
