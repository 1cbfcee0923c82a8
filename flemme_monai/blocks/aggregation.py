"""Blocks of JMedSeg's large-receptive-field trunk: patches merged and split, and neighbours aggregated."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .conv import ConvBlock
from .layers import groups_of_16, make_norm

PATCH = 2


class PatchMerge(nn.Sequential):
    """Each patch of 2 pixels an axis to as many times the channels as it has pixels, then a 1x1 convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple
    ) -> None:
        middle = in_channels * PATCH**spatial_dims
        layers: dict[str, nn.Module] = {
            "merge": Conv["conv", spatial_dims](in_channels, middle, PATCH, stride=PATCH, bias=norm is None),
            "norm": make_norm(norm, spatial_dims, middle, groups_of_16(middle)),
            "act": get_act_layer(act),
            "proj": ConvBlock(
                spatial_dims,
                middle,
                out_channels,
                kernel_size=1,
                norm=norm,
                act=act,
                num_groups=groups_of_16(out_channels),
                bias=norm is None,
            ),
        }
        super().__init__(OrderedDict(layers))


class PatchSplit(nn.Sequential):
    """A 1x1 convolution to as many times the channels as a patch has pixels, then each position becomes a patch.

    Args: as of :class:`PatchMerge`.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple
    ) -> None:
        middle = in_channels * PATCH**spatial_dims
        layers: dict[str, nn.Module] = {
            "expand": ConvBlock(
                spatial_dims,
                in_channels,
                middle,
                kernel_size=1,
                norm=norm,
                act=act,
                num_groups=groups_of_16(middle),
                bias=norm is None,
            ),
            "split": Conv["convtrans", spatial_dims](middle, out_channels, PATCH, stride=PATCH, bias=norm is None),
            "norm": make_norm(norm, spatial_dims, out_channels, groups_of_16(out_channels)),
            "act": get_act_layer(act),
        }
        super().__init__(OrderedDict(layers))


class AggregationBlock(nn.Module):
    """A dilated 3x3 convolution to twice the channels, a 1x1 convolution back, and a shortcut.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        dilation: distance of the kernel's points.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(self, spatial_dims: int, channels: int, dilation: int, norm: str | None, act: str | tuple) -> None:
        super().__init__()
        middle = 2 * channels
        self.aggregate = ConvBlock(
            spatial_dims,
            channels,
            middle,
            dilation=dilation,
            norm=norm,
            act=act,
            num_groups=groups_of_16(middle),
            bias=norm is None,
        )
        self.proj = ConvBlock(
            spatial_dims,
            middle,
            channels,
            kernel_size=1,
            norm=norm,
            act=None,
            num_groups=groups_of_16(channels),
            bias=norm is None,
        )
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return self.act(self.proj(self.aggregate(x)) + x)
