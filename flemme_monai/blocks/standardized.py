"""Convolutions of standardised weights (Qiao et al. 2019), padded so that a size is divided by exactly the stride."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def standardized(weight: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """A convolution's weight (C_out, C_in, *k) with mean 0 and variance 1 for each output channel.

    Args:
        weight: the weight.
        eps: is added to the variance.
    """
    axes = list(range(1, weight.dim()))
    mean = weight.mean(axes, keepdim=True)
    variance = (weight - mean).square().mean(axes, keepdim=True)
    return (weight - mean) * torch.rsqrt(variance + eps)


def same_padding(kernel_size: int, stride: int, spatial_dims: int) -> list[int]:
    """What is padded around a feature whose size the stride divides, as ``torch.nn.functional.pad`` takes it: one more
    behind where the number is odd, as TensorFlow and JAX do."""
    total = max(kernel_size - stride, 0)
    return [total // 2, total - total // 2] * spatial_dims


class StandardizedConv2d(nn.Conv2d):
    """A convolution of standardised weights without a bias.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: along each axis.
        stride: which divides the size.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=False)
        self.around = same_padding(kernel_size, stride, 2)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return self._conv_forward(F.pad(input, self.around), standardized(self.weight), None)


class StandardizedConv3d(nn.Conv3d):
    """The same in 3D. Args: as of :class:`StandardizedConv2d`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=False)
        self.around = same_padding(kernel_size, stride, 3)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` (B, C_in, H, W, D) to (B, C_out, *(s / stride))."""
        return self._conv_forward(F.pad(input, self.around), standardized(self.weight), None)


class SamePool(nn.Module):
    """Maxima of overlapping 3x3 windows of a feature that is not negative, padded as convolutions above.

    Args:
        spatial_dims: 2 or 3.
    """

    def __init__(self, spatial_dims: int) -> None:
        super().__init__()
        self.around = same_padding(3, 2, spatial_dims)
        self.pool = (nn.MaxPool2d if spatial_dims == 2 else nn.MaxPool3d)(3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C, *(s / 2))."""
        return self.pool(F.pad(x, self.around))
