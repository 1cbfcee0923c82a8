"""Convolutional blocks: one convolution, two, or two with a shortcut."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Dropout
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .layers import keeps_bias, make_norm


class ConvBlock(nn.Sequential):
    """Convolution, normalisation, activation, dropout.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names, or None.
        kernel_size: odd kernel size, one number or one per axis; at stride 1 the size of the feature is kept.
        depthwise: a convolution per channel, then a 1x1 convolution across them (Howard et al. 2017).
        dropout: probability that a whole channel is dropped.
        num_groups: groups of a group norm.
        stride: factor by which the feature gets smaller.
        dilation: distance between the points of the kernel.
        groups: groups of the convolution.
        bias: whether the convolution has a bias; None: unless a batch or instance norm would take it away.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm: str | None = "batch",
        act: str | tuple | None = "relu",
        kernel_size: int | Sequence[int] = 3,
        depthwise: bool = False,
        dropout: float = 0.0,
        num_groups: int = 8,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool | None = None,
    ) -> None:
        kernel = (kernel_size,) * spatial_dims if isinstance(kernel_size, int) else tuple(kernel_size)
        if not all(k % 2 for k in kernel):
            raise ValueError(f"kernel_size is {kernel_size}; expected an odd number, so that features keep their size.")
        conv, bias = Conv["conv", spatial_dims], keeps_bias(norm) if bias is None else bias
        padding = tuple(dilation * (k // 2) for k in kernel)
        layers: dict[str, nn.Module] = {}
        if depthwise:
            layers["depthwise"] = conv(
                in_channels, in_channels, kernel, stride, padding, dilation, groups=in_channels, bias=False
            )
            layers["conv"] = conv(in_channels, out_channels, 1, bias=bias)
        else:
            layers["conv"] = conv(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias)
        if norm is not None:
            layers["norm"] = make_norm(norm, spatial_dims, out_channels, num_groups)
        if act is not None:
            layers["act"] = get_act_layer(act)
        if dropout:
            layers["dropout"] = Dropout["dropout", spatial_dims](dropout)
        super().__init__(OrderedDict(layers))


class DoubleConvBlock(nn.Sequential):
    """Two convolution blocks, as in the U-Net (Ronneberger et al. 2015). Args as :class:`ConvBlock`."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm: str | None = "batch",
        act: str | tuple | None = "relu",
        kernel_size: int = 3,
        depthwise: bool = False,
        dropout: float = 0.0,
        num_groups: int = 8,
    ) -> None:
        rest = (norm, act, kernel_size, depthwise, dropout, num_groups)
        conv1 = ConvBlock(spatial_dims, in_channels, out_channels, *rest)
        super().__init__(OrderedDict(conv1=conv1, conv2=ConvBlock(spatial_dims, out_channels, out_channels, *rest)))


class ResConvBlock(nn.Module):
    """Two convolution blocks around a shortcut (ResNet, He et al. 2016). Args as :class:`ConvBlock`."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm: str | None = "batch",
        act: str | tuple | None = "relu",
        kernel_size: int = 3,
        depthwise: bool = False,
        dropout: float = 0.0,
        num_groups: int = 8,
    ) -> None:
        super().__init__()
        self.conv1 = ConvBlock(
            spatial_dims, in_channels, out_channels, norm, act, kernel_size, depthwise, dropout, num_groups
        )
        self.conv2 = ConvBlock(
            spatial_dims, out_channels, out_channels, norm, None, kernel_size, depthwise, 0.0, num_groups
        )
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else Conv["conv", spatial_dims](in_channels, out_channels, 1)
        )
        self.act = nn.Identity() if act is None else get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        return self.act(self.conv2(self.conv1(x)) + self.shortcut(x))
