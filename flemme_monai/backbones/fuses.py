"""How a decoder takes a feature of the encoder in: ``fuse(x, skip)``, both (B, C, *s) at one resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ..blocks import ConvBlock, linear_resize


class Cat(nn.Module):
    """The channels of both, those of the encoder first (U-Net, Ronneberger et al. 2015)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *s)."""
        return torch.cat([skip, x], 1)


class Add(nn.Module):
    """The sum of both, of the same channels."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` and ``skip`` (B, C, *s) to the same shape."""
        return x + skip


class Multiply(nn.Module):
    """The product of both, of the same channels."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` and ``skip`` (B, C, *s) to the same shape."""
        return x * skip


class AttentionGate(nn.Module):
    """The channels of both after a gate on the encoder's: skip * sigmoid(psi(act(W_x x + W_skip skip))).

    The gate of Attention U-Net (Oktay et al. 2018) with a signal of the skip's resolution. All three maps are 1x1
    convolutions; psi has one output channel, whose norm is a batch norm or none: an instance norm would fix how much
    of every image is open.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels C of the decoder's feature, which is the gating signal.
        skip_channels: channels K of the encoder's feature.
        hidden_channels: channels between the convolutions.
        norm: after W_x and W_skip, a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        skip_channels: int,
        hidden_channels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        self.signal = ConvBlock(spatial_dims, in_channels, hidden_channels, norm, None, kernel_size=1)
        self.skip = ConvBlock(spatial_dims, skip_channels, hidden_channels, norm, None, kernel_size=1)
        self.act = get_act_layer(act)
        self.psi = ConvBlock(spatial_dims, hidden_channels, 1, "batch" if norm == "batch" else None, None, 1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *s)."""
        gate = self.psi(self.act(self.signal(x) + self.skip(skip))).sigmoid()  # (B, 1, *s)
        return torch.cat([skip * gate, x], 1)


class CatUp(nn.Module):
    """The channels of both, those of the encoder first, at twice the resolution (JMedSeg's ResUNet)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, K + C, *(2 s)), interpolated linearly."""
        return linear_resize(torch.cat([skip, x], 1), [2 * n for n in x.shape[2:]])


class CatReduced(nn.Module):
    """The channels of both, those of the encoder first and reduced by a 1x1 convolution (DeepLab V3+, 2018).

    Args:
        spatial_dims: 2 or 3.
        skip_channels: channels K of the encoder's feature.
        reduced_channels: channels R after the convolution.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        skip_channels: int,
        reduced_channels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        self.reduction = ConvBlock(spatial_dims, skip_channels, reduced_channels, norm, act, kernel_size=1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s) to (B, R + C, *s)."""
        return torch.cat([self.reduction(skip), x], 1)


class Unpool(nn.Module):
    """Max unpooling: values return to where a pool of 2 found its maxima, all else is 0 (SegNet, Badrinarayanan et al.
    2017)."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` and the pool's indices ``skip``, both (B, C, *s), to (B, C, *(2 s))."""
        if x.dim() == 4:  # functions, since scripting fails on the modules
            return F.max_unpool2d(x, skip, [2, 2])
        return F.max_unpool3d(x, skip, [2, 2, 2])
