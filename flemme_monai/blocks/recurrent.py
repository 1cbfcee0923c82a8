"""Recurrent convolutions: one convolution applied several times to what it made and its input."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Norm
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .layers import keeps_bias, make_norm


class ChannelAffine(nn.Module):
    """A scale and a shift for each channel.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        shape = (channels, *[1] * spatial_dims)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return x * self.weight + self.bias


class RecurrentConv(nn.Module):
    """h_0 = f(x), h_i = f(x + h_{i-1}) for i = 1 ... t, with one f of convolution, norm and activation.

    Of a batch norm all steps share the scale and the shift, but each has running statistics of its own: features of
    later steps have others, and a mean over steps fits none of them in evaluation (Cooijmans et al., Recurrent Batch
    Normalization, ICLR 2017).

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
        self.steps, batch = steps, norm == "batch"
        self.conv = Conv["conv", spatial_dims](channels, channels, 3, padding=1, bias=keeps_bias(norm))
        self.statistics = nn.ModuleList(
            [Norm["batch", spatial_dims](channels, affine=False) if batch else nn.Identity() for _ in range(steps + 1)]
        )
        self.norm = ChannelAffine(spatial_dims, channels) if batch else make_norm(norm, spatial_dims, channels)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to h_t of the same shape."""
        h = x
        for i, standardized in enumerate(self.statistics):
            h = self.act(self.norm(standardized(self.conv(x + h if i else x))))
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
