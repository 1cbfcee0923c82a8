"""Structural similarity of images of any size (Wang et al. 2004)."""

from __future__ import annotations

import torch
from monai.metrics import SSIMMetric


class StructuralSimilarity(SSIMMetric):
    """MONAI's ``SSIMMetric``, whose window is no larger than the image: thin volumes and coarse levels have one too.

    Args: as of ``SSIMMetric``.
    """

    def _compute_metric(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        whole = self.kernel_size
        self.kernel_size = [min(window, size) for window, size in zip(whole, y_pred.shape[2:])]
        try:
            return super()._compute_metric(y_pred, y)
        finally:
            self.kernel_size = whole
