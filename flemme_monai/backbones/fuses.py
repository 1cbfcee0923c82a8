"""How a decoder takes a feature of the encoder in: ``fuse(x, skip)``, both (B, C, *s) at one resolution."""

from __future__ import annotations

import torch
from torch import nn


class Cat(nn.Module):
    """The channels of both, those of the encoder first (U-Net, Ronneberger et al. 2015)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *s)."""
        return torch.cat([skip, x], 1)


class CatLast(nn.Module):
    """The channels of both, those of the encoder last (nnU-Net; UNETR, Hatamizadeh et al. 2022)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, C + K, *s)."""
        return torch.cat([x, skip], 1)


class Add(nn.Module):
    """The sum of both (SegResNet, Myronenko 2018)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` and ``skip`` (B, C, *s) to the same shape."""
        return x + skip
