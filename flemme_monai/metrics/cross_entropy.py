"""Cross-entropy of masks that may overlap, of each case and class."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .overlap import CaseMean


class BinaryCrossEntropy(CaseMean):
    """Binary cross-entropy of each case and class, in nats, mean over the pixels."""

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Logits and masks (B, C, *S) to (B, C)."""
        entropy = F.binary_cross_entropy_with_logits(
            y_pred.float(), y.to(y_pred.device, torch.float32), reduction="none"
        )
        return entropy.flatten(2).mean(2).as_subclass(torch.Tensor)
