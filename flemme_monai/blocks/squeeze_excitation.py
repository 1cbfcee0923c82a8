"""Squeeze and excitation of segmentation networks: gates on channels, on positions, and on both."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.layers.factories import Conv
from torch import nn


class ChannelGate(nn.Module):
    """Weights of channels by an MLP over their means (squeeze-and-excitation, Hu et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels C.
        reduction: the MLP's hidden width is ``channels // reduction``, at least 1.
    """

    def __init__(self, spatial_dims: int, channels: int, reduction: int = 2) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        hidden = max(1, channels // reduction)
        fc1, fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, act=nn.ReLU(), fc2=fc2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to its weights (B, C, 1, ...) between 0 and 1."""
        weight = self.mlp(x.mean(self.axes))  # (B, C)
        return weight.sigmoid().view(list(weight.shape) + [1] * len(self.axes))


class SpatialGate(nn.Module):
    """Weights of positions by a 1x1 convolution over their channels (sSE, Roy et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels C.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.conv = Conv["conv", spatial_dims](channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to its weights (B, 1, *s) between 0 and 1."""
        return self.conv(x).sigmoid()


class ConcurrentGate(nn.Module):
    """Gates on channels and on positions at once, whose results are added (scSE, Roy et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels C.
        reduction: of the channel gate.
    """

    def __init__(self, spatial_dims: int, channels: int, reduction: int = 2) -> None:
        super().__init__()
        self.channel = ChannelGate(spatial_dims, channels, reduction)
        self.spatial = SpatialGate(spatial_dims, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return x * self.channel(x) + x * self.spatial(x)
