"""Tokens mixed by shifts: groups of channels moved along an axis, and an MLP around them (UNeXt, Valanarasu 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from .layers import ChannelLayerNorm

GROUPS = 5  # moved by -2, -1, 0, 1, 2 positions


class PositionShift(nn.Module):
    """Five groups of channels, moved by -2 to 2 positions along an axis; zeros come in from outside.

    Args:
        spatial_dims: 2 or 3.
        axis: the spatial axis, 0 is the first.
    """

    def __init__(self, spatial_dims: int, axis: int) -> None:
        super().__init__()
        self.axis, self.groups, self.reach = 2 + axis, GROUPS, GROUPS // 2
        self.padding = [0] * (2 * (spatial_dims - 1 - axis)) + [self.reach] * 2  # F.pad begins with the last axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape: x[c, i - shift] at i, for the shift of c's group."""
        size, padded = x.shape[self.axis], F.pad(x, self.padding)
        moved: list[torch.Tensor] = []
        for i, group in enumerate(padded.chunk(self.groups, 1)):
            moved.append(group.narrow(self.axis, 2 * self.reach - i, size))
        return torch.cat(moved, 1)


class ShiftedMLP(nn.Module):
    """Shift along one axis, 1x1 convolution, depthwise 3x3 convolution, GELU, shift along the other, 1x1 convolution.

    In 3D, of which the paper does not speak, the second shift moves half of the channels along the second axis and
    half along the third.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        conv = Conv["conv", spatial_dims]
        self.shift1 = PositionShift(spatial_dims, 0)
        self.fc1 = conv(channels, channels, 1)
        self.depthwise = conv(channels, channels, 3, padding=1, groups=channels)
        self.act = nn.GELU()
        self.shift2 = nn.ModuleList([PositionShift(spatial_dims, axis) for axis in range(1, spatial_dims)])
        self.fc2 = conv(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        x = self.act(self.depthwise(self.fc1(self.shift1(x))))
        parts = x.chunk(len(self.shift2), 1)
        moved: list[torch.Tensor] = []
        for i, shift in enumerate(self.shift2):
            moved.append(shift(parts[i]))
        return self.fc2(torch.cat(moved, 1))


class ShiftedBlock(nn.Module):
    """x + MLP(norm(x)), the tokenised MLP of UNeXt (Valanarasu and Patel 2022).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.norm, self.mlp = ChannelLayerNorm(channels), ShiftedMLP(spatial_dims, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return x + self.mlp(self.norm(x))
