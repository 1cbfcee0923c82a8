"""The MedNeXt block and its relatives that change the resolution."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers import DropPath
from monai.networks.layers.factories import Conv
from torch import nn

from .layers import make_norm


class InvertedBottleneck(nn.Sequential):
    """A convolution per channel, group norm per channel, 1x1 to ``expansion`` times the channels, GELU, 1x1.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd size of the convolution per channel; along an axis of stride s it is 2s - 1 at least, so that
            no position is passed over.
        expansion: channels between the 1x1 convolutions over ``in_channels``.
        stride: factor along each axis.
        up: whether the convolution per channel is transposed: *s becomes *((s - 1) * stride + 1).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: Sequence[int],
        up: bool = False,
    ) -> None:
        conv, depthwise = Conv["conv", spatial_dims], Conv["convtrans" if up else "conv", spatial_dims]
        kernel = tuple(max(kernel_size, 2 * s - 1) for s in stride)
        padding = tuple(k // 2 for k in kernel)
        hidden = expansion * in_channels
        super().__init__(
            OrderedDict(
                depthwise=depthwise(
                    in_channels, in_channels, kernel, stride=tuple(stride), padding=padding, groups=in_channels
                ),
                norm=make_norm("group", spatial_dims, in_channels, in_channels),
                expand=conv(in_channels, hidden, 1),
                act=nn.GELU(),
                reduce=conv(hidden, out_channels, 1),
            )
        )


class MedNeXtBlock(nn.Module):
    """An inverted bottleneck added to its input (MedNeXt, Roy et al., MICCAI 2023).

    Args:
        spatial_dims: 2 or 3.
        channels: channels of input and output.
        kernel_size: odd size of the convolution per channel.
        expansion: hidden channels over ``channels``.
        drop_path: probability that a sample skips the branch (Huang et al. 2016).
    """

    def __init__(
        self, spatial_dims: int, channels: int, kernel_size: int, expansion: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.body = InvertedBottleneck(spatial_dims, channels, channels, kernel_size, expansion, [1] * spatial_dims)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return x + self.drop_path(self.body(x))


class MedNeXtDown(nn.Module):
    """Downsampling by a strided inverted bottleneck and a strided 1x1 convolution as shortcut.

    Args: as of :class:`InvertedBottleneck`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: Sequence[int],
    ) -> None:
        super().__init__()
        self.body = InvertedBottleneck(spatial_dims, in_channels, out_channels, kernel_size, expansion, stride)
        self.shortcut = Conv["conv", spatial_dims](in_channels, out_channels, 1, stride=tuple(stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s / stride))."""
        return self.body(x) + self.shortcut(x)


class MedNeXtUp(nn.Module):
    """Upsampling by a transposed inverted bottleneck and a transposed 1x1 convolution as shortcut.

    Args: as of :class:`InvertedBottleneck`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: Sequence[int],
    ) -> None:
        super().__init__()
        self.body = InvertedBottleneck(spatial_dims, in_channels, out_channels, kernel_size, expansion, stride, up=True)
        self.shortcut = Conv["convtrans", spatial_dims](in_channels, out_channels, 1, stride=tuple(stride))
        self.padding: list[int] = []
        for s in reversed(stride):  # as F.pad has them: the last axis first, before and after it
            self.padding += [s - 1, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s * stride)), zeros before the first position of each axis."""
        return F.pad(self.body(x) + self.shortcut(x), self.padding)
