"""How a decoder takes a feature of the encoder in: ``fuse(x, skip)``, both (B, C, *s) at one resolution."""

from __future__ import annotations

import torch
from torch import nn


class Cat(nn.Module):
    """The channels of both, those of the encoder first (U-Net, Ronneberger et al. 2015)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *s)."""
        return torch.cat([skip, x], 1)
