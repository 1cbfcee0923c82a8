"""A latent that passes a vector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from .area import area_resize, linear_resize


class VectorBottleneck(nn.Module):
    """A feature through a vector: pooled to a small grid, mapped to a vector, and unfolded again.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the feature.
        size: length of the vector; or the widths of a chain of layers to it, of which it is the last.
        grid_size: points along each axis; features of any size are pooled to it, so no weight depends on an image's.
        decoder_size: widths of the layers between the vector and the feature; None mirrors those to it.

    Raises:
        ValueError: If there are no widths.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        size: int | Sequence[int],
        grid_size: int = 4,
        decoder_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.grid = [grid_size] * spatial_dims
        points = channels * grid_size**spatial_dims
        sizes = list(size) if isinstance(size, Sequence) else [size]
        if not sizes or min(sizes) < 1:
            raise ValueError(
                f"latent_size is {size}; expected the length of a vector, or sizes of which it is the last."
            )
        back = sizes[-2::-1] if decoder_size is None else list(decoder_size)
        self.to_vector = _chain([points, *sizes])
        self.to_feature = _chain([sizes[-1], *back, points])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) through a vector (B, size) back to (B, C, *s)."""
        pooled = area_resize(x, self.grid).flatten(1)
        vector = self.to_vector(pooled)
        feature = self.to_feature(vector).view([x.shape[0], x.shape[1]] + self.grid)
        return linear_resize(feature, list(x.shape[2:]))


def _chain(sizes: Sequence[int]) -> nn.Module:
    """Linear layers with an activation between them; a single one alone."""
    if len(sizes) == 2:
        return nn.Linear(sizes[0], sizes[1])
    layers: dict[str, nn.Module] = {}
    for i, (before, after) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{i}"] = nn.Linear(before, after)
        if i < len(sizes) - 1:
            layers[f"act{i}"] = nn.GELU()
    return nn.Sequential(OrderedDict(layers))
