"""Attention U-Net: a U-Net whose skips pass attention gates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConvBlock
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import AttentionGate
from ..stages import StageDecoder, conv_stage, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT


def nearest_up(
    spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple
) -> nn.Sequential:
    """Twice the size by repeating values, then a 3x3 convolution with norm and activation. Args: as of ConvBlock."""
    return nn.Sequential(nn.Upsample(scale_factor=2), ConvBlock(spatial_dims, in_channels, out_channels, norm, act))


class AttentionUNet(Backbone):
    """Attention U-Net (Oktay et al., MIDL 2018) with gates on all levels, whose signal has the skip's resolution.

    The paper's gate takes its signal from the coarser level and resamples its coefficients, and the finest level has
    none; the form here is the one that is in use for images in 2D.

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
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family = ConvFamily(norm=norm, act=act)
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [conv_stage(spatial_dims, (a, b, b), norm, act, dropout) for a, b in pairwise([in_channels, *channels])],
            channels[-1],
            family.min_latent_positions,
        )
        levels = list(pairwise(channels[::-1]))
        decoder = StageDecoder(
            [nearest_up(spatial_dims, a, b, norm, act) for a, b in levels],
            [AttentionGate(spatial_dims, b, b, b // 2, norm, act) for _, b in levels],
            [conv_stage(spatial_dims, (2 * b, b, b), norm, act, dropout) for _, b in levels],
            [b for _, b in levels],
            Conv["conv", spatial_dims](channels[0], out_channels, 1),
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
