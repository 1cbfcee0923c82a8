"""CS-Net: a residual U-Net with attention among positions and among channels at its bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ResConvBlock, Stage, TransposedConv
from ...blocks.position_attention import ChannelAffinity, PositionAttention, ScaledResidual
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder, conv_stage, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT


class CurvilinearAttention(nn.Module):
    """The sum of two attentions: among positions, with kernels along one axis each, and among channels.

    Args:
        spatial_dims: 2 or 3; queries look along the last axis and keys along the first.
        channels: number of channels C.
        norm: after the convolutions of queries and keys, a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(self, spatial_dims: int, channels: int, norm: str | None, act: str | tuple) -> None:
        super().__init__()
        along_last, along_first = [1] * (spatial_dims - 1) + [3], [3] + [1] * (spatial_dims - 1)
        attention = PositionAttention(
            spatial_dims, channels, max(1, channels // 8), None, along_last, along_first, norm, act
        )
        self.positions, self.channels = ScaledResidual(attention), ScaledResidual(ChannelAffinity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return self.positions(x) + self.channels(x)


class CSNet(Backbone):
    """CS-Net (Mou et al., MICCAI 2019), for vessels and other curvilinear structures.

    In 3D it is the same network with kernels of 1x1x3 and 3x1x1; CS2-Net (Mou et al., Medical Image Analysis 2021)
    multiplies a third map of 1x3x1 in. Attention at the latent takes time by the square of its positions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse; the last is the latent's.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution of a stage.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family, stride = ConvFamily(norm=norm, act=act), [2] * spatial_dims
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [
                Stage([ResConvBlock(spatial_dims, a, b, norm, act, dropout=dropout)], [b])
                for a, b in pairwise([in_channels, *channels])
            ],
            channels[-1],
            family.min_latent_positions,
        )
        levels = list(pairwise(channels[::-1]))
        decoder = StageDecoder(
            [TransposedConv(spatial_dims, a, b, stride, overlap=False) for a, b in levels],
            [Cat() for _ in levels],
            [conv_stage(spatial_dims, (2 * b, b, b), norm, act, dropout) for _, b in levels],
            [b for _, b in levels],
            Conv["conv", spatial_dims](channels[0], out_channels, 1),
            center=Stage([CurvilinearAttention(spatial_dims, channels[-1], norm, act)], [channels[-1]]),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )
