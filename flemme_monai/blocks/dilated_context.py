"""Context at the bottom of a network by dilated convolutions and by pooling, as in D-LinkNet and CE-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .area import linear_resize


def _dilated(spatial_dims: int, channels: int, dilation: int) -> nn.Module:
    return Conv["conv", spatial_dims](channels, channels, 3, padding=dilation, dilation=dilation)


class DilatedCascade(nn.Module):
    """3x3 convolutions of growing dilation in a row; the sum of the input and of what each gives (D-LinkNet, Zhou et
    al. 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        dilations: of the convolutions.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, channels: int, dilations: Sequence[int] = (1, 2, 4, 8), act: str | tuple = "relu"
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_dilated(spatial_dims, channels, dilation) for dilation in dilations])
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        out = x
        for conv in self.convs:
            x = self.act(conv(x))
            out = out + x
        return out


class DenseAtrousConv(nn.Module):
    """Four branches over the same three dilated convolutions, added to the input (CE-Net's DAC, Gu et al. 2019).

    With f_d the 3x3 convolution of dilation d and p the 1x1 convolution, the branches are f_1, p f_3, p f_3 f_1 and
    p f_5 f_3 f_1, each followed by the activation.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        act: any activation MONAI names.
    """

    def __init__(self, spatial_dims: int, channels: int, act: str | tuple = "relu") -> None:
        super().__init__()
        self.dilate1, self.dilate3, self.dilate5 = (_dilated(spatial_dims, channels, d) for d in (1, 3, 5))
        self.proj = Conv["conv", spatial_dims](channels, channels, 1)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        one = self.dilate1(x)
        three = self.dilate3(one)
        out = x + self.act(one) + self.act(self.proj(self.dilate3(x)))
        return out + self.act(self.proj(three)) + self.act(self.proj(self.dilate5(three)))


class ResidualMultiPooling(nn.Module):
    """Max-pooled maps of several scales, a channel each, beside the input (CE-Net's RMP, Gu et al. 2019).

    Windows that reach over the border are cut there, so that a feature of any size has at least one.

    Args:
        spatial_dims: 2 or 3.
        channels: channels C of the input.
        sizes: of the windows, which do not overlap; the output has a channel more for each.
    """

    def __init__(self, spatial_dims: int, channels: int, sizes: Sequence[int] = (2, 3, 5, 6)) -> None:
        super().__init__()
        self.pools = nn.ModuleList([Pool["max", spatial_dims](size, size, ceil_mode=True) for size in sizes])
        self.proj = Conv["conv", spatial_dims](channels, 1, 1)
        self.out_channels = channels + len(sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C + sizes, *s), the pooled maps first."""
        maps: list[torch.Tensor] = []
        for pool in self.pools:
            maps.append(linear_resize(self.proj(pool(x)), list(x.shape[2:])))
        return torch.cat(maps + [x], 1)
