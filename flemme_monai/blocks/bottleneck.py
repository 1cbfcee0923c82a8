"""A latent that passes a vector."""

from __future__ import annotations

import torch
from torch import nn

from .area import area_resize, linear_resize


class VectorBottleneck(nn.Module):
    """A feature through a vector: pooled to a small grid, mapped to a vector, and unfolded again.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the feature.
        size: length of the vector.
        grid_size: points along each axis; features of any size are pooled to it, so no weight depends on an image's.
    """

    def __init__(self, spatial_dims: int, channels: int, size: int, grid_size: int = 4) -> None:
        super().__init__()
        self.grid = [grid_size] * spatial_dims
        points = grid_size**spatial_dims
        self.to_vector = nn.Linear(channels * points, size)
        self.to_feature = nn.Linear(size, channels * points)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) through a vector (B, size) back to (B, C, *s)."""
        pooled = area_resize(x, self.grid).flatten(1)
        vector = self.to_vector(pooled)
        feature = self.to_feature(vector).view([x.shape[0], x.shape[1]] + self.grid)
        return linear_resize(feature, list(x.shape[2:]))
