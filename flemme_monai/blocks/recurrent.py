"""Recurrent convolutions: one convolution applied several times to what it made and its input."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from .conv import ConvBlock


class RecurrentConv(nn.Module):
    """h_0 = f(x), h_i = f(x + h_{i-1}) for i = 1 ... t, with one f of convolution, norm and activation.

    All steps share the running statistics of a batch norm too, which are then a mean over steps of different
    statistics; an instance norm has none.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        steps: the recurrences t.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, channels: int, steps: int = 2, norm: str | None = "batch", act: str | tuple = "relu"
    ) -> None:
        super().__init__()
        self.steps = steps
        self.conv = ConvBlock(spatial_dims, channels, channels, norm, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to h_t of the same shape."""
        h = self.conv(x)
        for _ in range(self.steps):
            h = self.conv(x + h)
        return h


class RecurrentResidual(nn.Module):
    """A 1x1 convolution to the width, then two recurrent convolutions with a shortcut (R2U-Net, Alom et al. 2018).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        steps: recurrences of each convolution.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        steps: int = 2,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        self.proj = Conv["conv", spatial_dims](in_channels, out_channels, 1)
        self.conv1 = RecurrentConv(spatial_dims, out_channels, steps, norm, act)
        self.conv2 = RecurrentConv(spatial_dims, out_channels, steps, norm, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        x = self.proj(x)
        return x + self.conv2(self.conv1(x))
