"""The convolutional trunk of hybrid Vision Transformers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from ...blocks import Stage
from ...blocks.standardized import SamePool, StandardizedConv2d, StandardizedConv3d
from ..stages import StageEncoder

EPS = 1e-6  # of the group norms


def _conv(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
    conv = StandardizedConv2d if spatial_dims == 2 else StandardizedConv3d
    return conv(in_channels, out_channels, kernel_size, stride)


def _norm(channels: int) -> nn.GroupNorm:
    """32 groups, fewer where they would have one channel."""
    return nn.GroupNorm(min(32, max(1, channels // 2)), channels, eps=EPS)


class StandardizedBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions of standardised weights around a shortcut, with group norms after them.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels after the first two convolutions; the last has four times as many.
        stride: of the 3x3 convolution.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        after = 4 * channels
        self.conv1, self.gn1 = _conv(spatial_dims, in_channels, channels, 1), _norm(channels)
        self.conv2, self.gn2 = _conv(spatial_dims, channels, channels, 3, stride), _norm(channels)
        self.conv3, self.gn3 = _conv(spatial_dims, channels, after, 1), _norm(after)
        changes = stride != 1 or in_channels != after
        self.conv_proj = _conv(spatial_dims, in_channels, after, 1, stride) if changes else nn.Identity()
        self.gn_proj = _norm(after) if changes else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, 4 C, *(s / stride))."""
        out = self.act(self.gn1(self.conv1(x)))
        out = self.act(self.gn2(self.conv2(out)))
        return self.act(self.gn3(self.conv3(out)) + self.gn_proj(self.conv_proj(x)))


class ResNetV2(StageEncoder):
    """The ResNet under hybrid Vision Transformers (Dosovitskiy et al., ICLR 2021): standardised convolutions and group
    norms, at stride 16 in its latent.

    Its features are those of the root (half of the image's size) and of the blocks (1/4, 1/8, 1/16). Paddings are those
    of the weights' own code, so that a stride divides a size exactly.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: width of the root.
        units: bottlenecks of each of the three blocks.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: int = 64, units: Sequence[int] = (3, 4, 9)
    ) -> None:
        root = OrderedDict(conv=_conv(spatial_dims, in_channels, channels, 7, 2), gn=_norm(channels), act=nn.ReLU())
        stages, before = [Stage([nn.Sequential(root)], [channels])], channels
        feature_channels = [channels]
        for i, count in enumerate(units):
            layers: list[nn.Module] = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                layers.append(StandardizedBottleneck(spatial_dims, before, channels * 2**i, stride))
                before = 4 * channels * 2**i
            stages.append(Stage(layers, [before] * count))
            feature_channels.append(before)
        super().__init__(
            spatial_dims,
            in_channels,
            downs=[nn.Identity(), SamePool(spatial_dims), *(nn.Identity() for _ in units[1:])],
            stages=stages,
            strides=[2 ** (len(units) + 1)],
            latent_channels=before,
        )
        self.feature_channels = feature_channels
