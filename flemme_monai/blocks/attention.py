"""Attention that any stage can add: over channels (CA, ECA, ECA-NS) and over positions."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn


class ChannelAttention(nn.Module):
    """Channel attention of CBAM: one MLP over the mean and the maximum of each channel (Woo et al. 2018, eq. 2).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        reduction: the MLP's hidden width is ``channels // reduction``, at least 1.
    """

    def __init__(self, spatial_dims: int, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        hidden = max(1, channels // reduction)
        fc1, fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, act=nn.ReLU(), fc2=fc2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels of ``x`` (B, C, *s)."""
        weight = self.mlp(x.mean(self.axes)) + self.mlp(x.amax(self.axes))  # (B, C)
        return x * weight.sigmoid().view(list(weight.shape) + [1] * len(self.axes))


class EfficientChannelAttention(nn.Module):
    """Efficient channel attention: a 1D convolution across the channels' means (ECA-Net, Wang et al. 2020).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels; the kernel grows with its logarithm (eq. 12, gamma 2, b 1).
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        kernel = int(abs((math.log2(channels) + 1) / 2)) | 1  # the nearest odd number from below, or one above
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels of ``x`` (B, C, *s)."""
        weight = self.conv(x.mean(self.axes).unsqueeze(1)).squeeze(1)  # (B, 1, C) -> (B, C)
        return x * weight.sigmoid().view(list(weight.shape) + [1] * len(self.axes))


class UnsharedChannelAttention(nn.Module):
    """Efficient channel attention with weights of its own for each channel (ECA-NS of ECA-Net, Wang et al. 2020).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels; the kernel is that of :class:`EfficientChannelAttention`.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        self.kernel = int(abs((math.log2(channels) + 1) / 2)) | 1
        bound = self.kernel**-0.5
        self.weight = nn.Parameter(torch.empty(channels, self.kernel).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels of ``x`` (B, C, *s)."""
        half = self.kernel // 2
        windows = F.pad(x.mean(self.axes), [half, half]).unfold(1, self.kernel, 1)  # (B, C, k)
        weight = (windows * self.weight).sum(-1)
        return x * weight.sigmoid().view(list(weight.shape) + [1] * len(self.axes))


class SpatialSelfAttention(nn.Module):
    """Multi-head self-attention over all positions, added to its input (non-local block, Wang et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(self, spatial_dims: int, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"self-attention: num_heads is {num_heads}; expected a divisor of the {channels} channels."
            )
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = Conv["conv", spatial_dims](channels, 3 * channels, 1)
        self.proj = Conv["conv", spatial_dims](channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over the positions of ``x`` (B, C, *s)."""
        batch, channels = x.shape[0], x.shape[1]
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.num_heads, channels // self.num_heads, -1)
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # each (B, heads, L, C / heads)
        out = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
        return x + self.proj(out)


CHANNEL_ATTENTION = {
    "ca": ChannelAttention,
    "eca": EfficientChannelAttention,
    "eca-ns": UnsharedChannelAttention,
}


def channel_attention(name: str, spatial_dims: int, channels: int) -> nn.Module:
    """The channel attention of that name.

    Raises:
        ValueError: If the name is another.
    """
    if name not in CHANNEL_ATTENTION:
        raise ValueError(f"channel_attention is {name!r}; expected None, {' or '.join(CHANNEL_ATTENTION)}.")
    return CHANNEL_ATTENTION[name](spatial_dims, channels)
