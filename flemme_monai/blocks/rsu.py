"""Residual U-blocks: a small U-Net as one block, whose depth follows the resolution that it is at."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Pool
from torch import nn

from .area import linear_resize
from .conv import ConvBlock


class ResidualUBlock(nn.Module):
    """RSU-L (U²-Net, Qin et al. 2020): a convolution, and added to it a U of ``levels`` levels.

    Level 1 is at the input's resolution, each level but the lowest at half of the one before; the lowest has dilation
    2 instead. Pools round up, so that any size works.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        inner_channels: width of the U.
        out_channels: channels of the output.
        levels: L, at least 3.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a whole channel is dropped after a convolution.
        pooling: whether levels are at lower resolutions; otherwise level i has dilation 2^(i - 1) instead (RSU-LF, for
            features that are coarse already).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        levels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        pooling: bool = True,
    ) -> None:
        super().__init__()

        def conv(before: int, after: int, dilation: int = 1) -> ConvBlock:
            return ConvBlock(spatial_dims, before, after, norm, act, dropout=dropout, dilation=dilation)

        self.entry = conv(in_channels, out_channels)
        dilations = [1] * (levels - 1) + [2] if pooling else [2**i for i in range(levels)]
        before = [out_channels] + [inner_channels] * (levels - 1)
        self.down = nn.ModuleList([conv(a, inner_channels, dilation) for a, dilation in zip(before, dilations)])
        after = [inner_channels] * (levels - 2) + [out_channels]
        self.up = nn.ModuleList([conv(2 * inner_channels, b, d) for b, d in zip(after, dilations[-2::-1])])
        # the step to a level and back from it changes the resolution, but not to the first and to the lowest
        self.pooled = [pooling and 0 < i < levels - 1 for i in range(levels)]
        pool = Pool["max", spatial_dims]
        self.pools = nn.ModuleList([pool(2, 2, ceil_mode=True) if pools else nn.Identity() for pools in self.pooled])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        entry = self.entry(x)
        x = entry
        levels: list[torch.Tensor] = []
        for pool, down in zip(self.pools, self.down):
            x = down(pool(x))  # (B, inner, *(s / 2^i))
            levels.append(x)
        for i, up in enumerate(self.up):
            skip = levels[len(levels) - 2 - i]
            if self.pooled[len(levels) - 1 - i]:
                x = linear_resize(x, list(skip.shape[2:]))
            x = up(torch.cat([x, skip], 1))
        return x + entry
