"""Atrous spatial pyramid pooling: convolutions of several dilations over one feature (DeepLab)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from .conv import ConvBlock
from .pyramid_pooling import PooledConv


class AtrousSum(nn.Module):
    """The sum of dilated 3x3 convolutions (DeepLab V2, Chen et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        dilations: of the convolutions.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        conv = Conv["conv", spatial_dims]
        self.convs = nn.ModuleList([conv(in_channels, out_channels, 3, padding=d, dilation=d) for d in dilations])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        maps: list[torch.Tensor] = []
        for conv in self.convs:
            maps.append(conv(x))
        return torch.stack(maps).sum(0)


class AtrousPyramid(nn.Module):
    """A 1x1 and dilated 3x3 convolutions beside the global mean, then a 1x1 convolution (DeepLab V3, Chen et al. 2017).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of each branch and of the output.
        dilations: of the 3x3 convolutions.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel of the output is dropped.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvBlock(spatial_dims, in_channels, out_channels, kernel_size=1, norm=norm, act=act),
                *(
                    ConvBlock(spatial_dims, in_channels, out_channels, dilation=d, norm=norm, act=act)
                    for d in dilations
                ),
                PooledConv(spatial_dims, in_channels, out_channels, norm=norm, act=act),
            ]
        )
        self.proj = ConvBlock(
            spatial_dims, len(self.branches) * out_channels, out_channels, kernel_size=1, norm=norm, act=act
        )
        self.dropout = Dropout["dropout", spatial_dims](dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        maps: list[torch.Tensor] = []
        for branch in self.branches:
            maps.append(branch(x))
        return self.dropout(self.proj(torch.cat(maps, 1)))
