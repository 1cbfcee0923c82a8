"""TernausNet: a U-Net whose encoder is VGG."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import ConvBlock, InterpolateUp, Stage, keeps_bias, make_norm
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.vgg import VGGEncoder
from ..fuses import Cat
from ..stages import StageDecoder
from .unet import SKIPS_PASS_THE_LATENT

INNER = (16, 16, 16, 8, 4)  # widths inside the decoder's blocks, coarse to fine, in multiples of the finest one's
RAISED = {11: (8, 8, 4, 2, 1), 16: (8, 8, 8, 2, 1)}  # and after them, by the depth of the VGG


class TernausNet(Backbone):
    """TernausNet (Iglovikov, Shvets, arXiv 1801.05746, 2018), of VGG11 as in the paper, or of VGG16.

    A block of the decoder takes a feature to twice its resolution: beside VGG11 by a convolution and a transposed one,
    beside VGG16, the authors' later form, by interpolation and two convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the VGG, 11 or 16.
        channels: width of each of its five stages, fine to coarse.
        decoder_channels: width of the decoder at full size, which those of its other blocks are multiples of.
        norm: None (as published), ``batch``, ``instance``, ``group`` or ``layer``.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        encoder_weights: file of weights of the VGG of that depth by torchvision's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the depth is another.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 11,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        decoder_channels: int = 32,
        norm: str | None = None,
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        def conv(before: int, after: int) -> nn.Module:
            return ConvBlock(spatial_dims, before, after, norm, act, dropout=dropout)

        def raising(before: int, inner: int, after: int) -> Stage:
            if depth == 11:
                blocks = [conv(before, inner), _TransposedBlock(spatial_dims, inner, after, norm, act)]
                return Stage(blocks, [inner, after])
            up = InterpolateUp(spatial_dims, before, before, [2] * spatial_dims)
            return Stage([up, conv(before, inner), conv(inner, after)], [0, inner, after])

        family = ConvFamily(norm=norm, act=act)
        encoder = VGGEncoder(
            spatial_dims,
            in_channels,
            depth,
            channels,
            norm,
            act,
            dropout,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        inner = [factor * decoder_channels for factor in INNER]
        raised = [factor * decoder_channels for factor in RAISED[depth]]
        joined = [width + skip for width, skip in zip(raised, reversed(channels))]
        stages = [raising(*sizes) for sizes in zip(joined, inner[1:], raised[1:])]
        stages.append(Stage([conv(joined[-1], decoder_channels)], [decoder_channels]))
        decoder = StageDecoder(
            [nn.Identity() for _ in stages],
            [Cat() for _ in stages],
            stages,
            [*raised[1:], decoder_channels],
            Conv["conv", spatial_dims](decoder_channels, out_channels, 1),
            center=raising(channels[-1], inner[0], raised[0]),
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


class _TransposedBlock(nn.Sequential):
    """A transposed 3x3 convolution with stride 2, a norm and an activation."""

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple
    ) -> None:
        bias = keeps_bias(norm)
        conv = Conv["convtrans", spatial_dims](in_channels, out_channels, 3, 2, 1, output_padding=1, bias=bias)
        super().__init__(
            OrderedDict(conv=conv, norm=make_norm(norm, spatial_dims, out_channels), act=get_act_layer(act))
        )
