"""UNeXt: convolutions at fine levels, shifted MLPs at coarse ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import ChannelLayerNorm, ConvBlock, InterpolateUp, Stage
from ...blocks.shift import ShiftedBlock
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Add
from ..stages import StageDecoder, StageEncoder
from .unet import SKIPS_PASS_THE_LATENT


class UNeXt(Backbone):
    """UNeXt (Valanarasu, Patel, MICCAI 2022), a small network of convolutions and tokenised MLPs.

    Args:
        spatial_dims: 2 or 3; of 3D the paper does not speak, see :class:`flemme_monai.blocks.shift.ShiftedMLP`.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse: levels of convolutions, then two of MLPs.
        norm: of the convolutions: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: of the convolutions, any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If there are fewer than three levels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (16, 32, 128, 160, 256),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if len(channels) < 3:
            raise ValueError(f"channels is {list(channels)}; expected three or more, of which the last two are MLPs'.")
        conv, convolutional = Conv["conv", spatial_dims], len(channels) - 2
        family, stride = ConvFamily(norm=norm, act=act), [2] * spatial_dims

        def pooled(before: int, after: int) -> Stage:
            layers = [
                ConvBlock(spatial_dims, before, after, norm, None),
                Pool["max", spatial_dims](2),
                get_act_layer(act),
            ]
            return Stage(layers, [0, 0, after])

        def embedding(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(conv(before, after, 3, 2, 1), ChannelLayerNorm(after))

        def up(before: int, after: int, its_norm: str | None) -> nn.Sequential:
            return nn.Sequential(
                ConvBlock(spatial_dims, before, after, its_norm, None),
                InterpolateUp(spatial_dims, after, after, stride),
                get_act_layer(act),
            )

        def mlp(width: int) -> Stage:
            return Stage([ShiftedBlock(spatial_dims, width), ChannelLayerNorm(width)], [0, width])

        def plain(width: int) -> Stage:
            """A place where conditions come in, and no layer."""
            return Stage([nn.Identity()], [width])

        pairs = list(zip([in_channels, *channels], channels))
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            # the stages of convolutions pool in themselves
            downs=[nn.Identity() if i < convolutional else embedding(a, b) for i, (a, b) in enumerate(pairs)],
            stages=[pooled(a, b) if i < convolutional else mlp(b) for i, (a, b) in enumerate(pairs)],
            strides=[2] * len(channels),
            latent_channels=channels[-1],
            min_latent_positions=family.min_latent_positions,
        )
        widest_first = list(channels[::-1])
        decoder = StageDecoder(
            [up(a, b, norm) for a, b in pairwise(widest_first)],
            [Add() for _ in widest_first[1:]],
            [(mlp if i < 2 else plain)(width) for i, width in enumerate(widest_first[1:])],
            widest_first[1:],
            nn.Sequential(up(channels[0], channels[0], None), conv(channels[0], out_channels, 1)),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": "its last step doubles the size by interpolation, after which only single positions are "
                "seen; use a network whose last convolutions are at full size, such as ClassicUNet.",
            },
            checkpointing=checkpointing,
        )
