"""From one resolution to another: patches in, stages down, stages up, patches out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from .area import area_resize, linear_resize


def _overlapping(stride: Sequence[int]) -> tuple[list[int], list[int]]:
    """Kernel and padding about twice the stride, so that the size changes by exactly the stride."""
    return [2 * s - s % 2 for s in stride], [s // 2 for s in stride]


class StridedConv(nn.Module):
    """Downsampling by a strided convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: factor along each axis.
        overlap: a kernel of about twice the stride, so that neighbouring patches share borders; otherwise kernel and
            stride are equal: patch embedding (Dosovitskiy et al. 2021) and patch merging (Liu et al. 2021).
        bias: whether the convolution has a bias.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: Sequence[int],
        overlap: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kernel, padding = _overlapping(stride) if overlap else (list(stride), [0] * spatial_dims)
        self.conv = Conv["conv", spatial_dims](
            in_channels, out_channels, tuple(kernel), tuple(stride), tuple(padding), bias=bias
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s / stride))."""
        return self.conv(x)


class TransposedConv(nn.Module):
    """Upsampling by a transposed convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: factor along each axis.
        overlap: a kernel of about twice the stride (no checkerboard); otherwise each position becomes one patch.
        bias: whether the convolution has a bias.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: Sequence[int],
        overlap: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kernel, padding = _overlapping(stride) if overlap else (list(stride), [0] * spatial_dims)
        self.conv = Conv["convtrans", spatial_dims](
            in_channels, out_channels, tuple(kernel), tuple(stride), tuple(padding), bias=bias
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s * stride))."""
        return self.conv(x)


class PoolDown(nn.Sequential):
    """Downsampling by pooling, with a 1x1 convolution where the width changes.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: factor along each axis.
        mode: ``max`` or ``avg``.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int], mode: str = "max"
    ) -> None:
        layers: dict[str, nn.Module] = {"pool": Pool[mode, spatial_dims](tuple(stride), tuple(stride))}
        if in_channels != out_channels:
            layers["proj"] = Conv["conv", spatial_dims](in_channels, out_channels, 1)
        super().__init__(OrderedDict(layers))


class InterpolateDown(nn.Module):
    """Downsampling by area interpolation, with a 1x1 convolution after it where the width changes.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: factor along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = list(stride)
        self.proj = (
            nn.Identity() if in_channels == out_channels else Conv["conv", spatial_dims](in_channels, out_channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s / stride))."""
        size = [n // s for n, s in zip(x.shape[2:], self.stride)]
        return self.proj(area_resize(x, size))


class InterpolateUp(nn.Module):
    """Upsampling by linear interpolation, with a 1x1 convolution before it where the width changes.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: factor along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = list(stride)
        self.proj = (
            nn.Identity() if in_channels == out_channels else Conv["conv", spatial_dims](in_channels, out_channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s * stride))."""
        size = [n * s for n, s in zip(x.shape[2:], self.stride)]
        return linear_resize(self.proj(x), size)


class PatchExpand(nn.Sequential):
    """Patch recovery of a transformer: every position becomes a patch, then a 1x1 convolution (Cao et al. 2021).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: patch size along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        expand = TransposedConv(spatial_dims, in_channels, in_channels, stride, overlap=False)
        super().__init__(OrderedDict(expand=expand, proj=Conv["conv", spatial_dims](in_channels, out_channels, 1)))
