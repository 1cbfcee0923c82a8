"""Recurrent residual U-Nets: R2UNet, and R2AttentionUNet with attention gates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import Stage
from ...blocks.recurrent import RecurrentResidual
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import AttentionGate, Cat
from ..stages import StageDecoder, pooled_encoder
from .attention_unet import nearest_up
from .unet import SKIPS_PASS_THE_LATENT


class R2UNet(Backbone):
    """R2U-Net, a recurrent residual U-Net (Alom et al., arXiv 1802.06955, 2018; Journal of Medical Imaging 2019).

    Every convolution of a stage runs ``steps + 1`` times and keeps as many activations: in 3D set ``checkpointing``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse; the last is the latent's.
        steps: recurrences of each convolution; the paper has 2.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None; the recurrences of a convolution share it.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    gated: ClassVar[bool] = False

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        steps: int = 2,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        def stage(before: int, after: int) -> Stage:
            return Stage([RecurrentResidual(spatial_dims, before, after, steps, norm, act)], [after])

        def fuse(width: int) -> nn.Module:
            return AttentionGate(spatial_dims, width, width, width // 2, norm, act) if self.gated else Cat()

        family = ConvFamily(norm=norm, act=act)
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [stage(a, b) for a, b in pairwise([in_channels, *channels])],
            channels[-1],
            family.min_latent_positions,
        )
        levels = list(pairwise(channels[::-1]))
        decoder = StageDecoder(
            [nearest_up(spatial_dims, a, b, norm, act) for a, b in levels],
            [fuse(b) for _, b in levels],
            [stage(2 * b, b) for _, b in levels],
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


class R2AttentionUNet(R2UNet):
    """R2U-Net with the gates of Attention U-Net (Oktay et al., MIDL 2018); this form has no paper of its own.

    Args: as of :class:`R2UNet`.
    """

    gated = True
