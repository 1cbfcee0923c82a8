"""Absolute position embedding that fits any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PositionEmbedding(nn.Module):
    """Learned absolute position embedding on a coarse grid, interpolated to the size of its input and added.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        grid_size: points of the grid along each axis; the weights never depend on an image's size.
    """

    def __init__(self, spatial_dims: int, channels: int, grid_size: int = 8) -> None:
        super().__init__()
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.grid = nn.Parameter(torch.empty([1, channels] + [grid_size] * spatial_dims))
        nn.init.trunc_normal_(self.grid, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) plus the embedding of its positions."""
        return x + F.interpolate(self.grid, size=x.shape[2:], mode=self.mode, align_corners=False)
