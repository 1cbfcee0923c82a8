"""Means over a grid of areas as context: what PSPNet and DeepLab concatenate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .area import area_resize, linear_resize
from .conv import ConvBlock
from .layers import check_two_images


class PooledConv(nn.Module):
    """Means over a grid of areas, a 1x1 convolution with norm and activation, and back to the feature's size.

    An instance norm of one position would be zero whatever the image is, so that the branch of the global mean has no
    norm under it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        grid: areas along each axis; 1 is the global mean.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        grid: int = 1,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        self.grid, self.axes = [grid] * spatial_dims, list(range(2, 2 + spatial_dims))
        self.is_mean = grid == 1
        self.needs_two = self.is_mean and norm == "batch"
        norm = None if self.is_mean and norm == "instance" else norm
        self.conv = ConvBlock(spatial_dims, in_channels, out_channels, kernel_size=1, norm=norm, act=act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s).

        Raises:
            ValueError: If a batch norm learns from one value.
        """
        if self.is_mean:
            if self.needs_two and self.training and not torch.jit.is_scripting():
                check_two_images(x)
            mean = self.conv(x.mean(self.axes, keepdim=True))  # (B, C_out, 1, ...)
            return mean.expand(list(mean.shape[:2]) + list(x.shape[2:]))
        return linear_resize(self.conv(area_resize(x, self.grid)), list(x.shape[2:]))


class PyramidPooling(nn.Module):
    """A feature beside its means over grids of several sizes (PSPNet, Zhao et al. 2017).

    Args:
        spatial_dims: 2 or 3.
        channels: channels C of the input.
        pooled_channels: channels P that each grid adds.
        grids: areas along each axis, for each grid.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.

    Attributes:
        out_channels: C + P for each grid.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        pooled_channels: int,
        grids: Sequence[int] = (1, 2, 3, 6),
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [PooledConv(spatial_dims, channels, pooled_channels, grid, norm, act) for grid in grids]
        )
        self.out_channels = channels + len(grids) * pooled_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, out_channels, *s), the feature first."""
        maps = [x]
        for branch in self.branches:
            maps.append(branch(x))
        return torch.cat(maps, 1)
