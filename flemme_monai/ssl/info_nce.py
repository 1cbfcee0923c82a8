"""The loss of contrastive learning: which of many is the other view."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class InfoNCE(nn.Module):
    """Cross entropy of the other view among itself and the negatives, in nats (van den Oord et al. 2018)."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """Similarities over the temperature to the mean loss.

        Args:
            logits: (..., 1 + N), the other view's first; -inf where one is no negative.
            target: what engines give to every loss; not read.
        """
        rows = logits.flatten(0, -2)
        return F.cross_entropy(rows, rows.new_zeros(len(rows), dtype=torch.long))
