"""HarDNet-MSEG: receptive field blocks and a partial decoder on HarDNet-68, in two forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage, linear_resize
from ...blocks.receptive_field import PartialDecoder, ReceptiveFieldBlock
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.hardnet import HarDNetEncoder
from .unet import SKIPS_PASS_THE_LATENT


class PartialFeaturesDecoder(nn.Module):
    """The latent and the kept features through a receptive field block each, joined; the finest makes the output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the latent and of the kept features, coarse to fine.
        out_channels: channels of the output.
        channels: width of the blocks.
        factors: as of :class:`flemme_monai.blocks.receptive_field.PartialDecoder`.
        head_stride: factor by which the output is interpolated.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        out_channels: int,
        channels: int,
        factors: Sequence[int],
        head_stride: int,
        norm: str | None,
    ) -> None:
        super().__init__()
        self.feature_channels = [(i + 1) * channels for i in range(len(in_channels))]
        self.num_sides = 0
        self.head_stride = head_stride
        fields = [ReceptiveFieldBlock(spatial_dims, before, channels, norm) for before in in_channels]
        self.fields = nn.ModuleList([Stage([field], [channels]) for field in fields])
        self.join = PartialDecoder(spatial_dims, channels, factors, norm)
        width = self.feature_channels[-1]
        self.head = Stage([ConvBlock(spatial_dims, width, width, norm, None)], [width])
        self.output_layer = Conv["conv", spatial_dims](width, out_channels, 1)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept features, fine to coarse, to the output (B, out_channels, *S)."""
        inputs = [latent] + skips[::-1]
        fields: list[torch.Tensor] = []
        for i, stage in enumerate(self.fields):
            fields.append(stage(inputs[i]) if conditions is None else stage(inputs[i], conditions))
        features = self.join(fields)
        x = features[-1]
        x = self.head(x) if conditions is None else self.head(x, conditions)
        logits = self.output_layer(x)
        sides: list[torch.Tensor] = []
        size = [self.head_stride * n for n in x.shape[2:]]
        return DecoderOutput(linear_resize(logits, size), features, sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """The blocks, what joins them, the last convolution."""
        return [*([field] for field in self.fields), [self.join], [self.head]]


class HarDNetMSEG(Backbone):
    """HarDNet-MSEG (Huang, Wu, Lin, arXiv 2101.07172, 2021) on HarDNet-68 (Chao et al., ICCV 2019).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        stem_channels: width of the two convolutions of the trunk's stem.
        channels: width after each of the trunk's five harmonic blocks.
        growth: of each block.
        layers: convolutions of each block.
        decoder_channels: width of the receptive field blocks.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: activation of the trunk, any that MONAI names; the receptive field blocks have ReLU.
        encoder_weights: file of weights of HarDNet-68 by its authors' names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    factors: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stem_channels: Sequence[int] = (32, 64),
        channels: Sequence[int] = (128, 256, 320, 640, 1024),
        growth: Sequence[int] = (14, 16, 20, 40, 160),
        layers: Sequence[int] = (8, 16, 16, 16, 4),
        decoder_channels: int = 32,
        norm: str | None = "batch",
        act: str | tuple = "relu6",
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family = ConvFamily(norm=norm, act=act)
        count = len(self.factors)  # of the features that are kept
        encoder = HarDNetEncoder(
            spatial_dims,
            in_channels,
            stem_channels,
            channels,
            growth,
            layers,
            keep=[False, count == 3, True, True],
            norm=norm,
            act=act,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        head_stride = 2 ** (5 - count)
        decoder = PartialFeaturesDecoder(
            spatial_dims,
            [channels[4], channels[3], channels[2], channels[0]][: count + 1],
            out_channels,
            decoder_channels,
            self.factors,
            head_stride,
            norm,
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": interpolated_without_layers(head_stride),
            },
            checkpointing=checkpointing,
        )


class HarDNetAlter(HarDNetMSEG):
    """JMedSeg's form of HarDNet-MSEG: the trunk's finest features, at a quarter of the image's size, are joined too.

    They are multiplied with no others. Args as of :class:`HarDNetMSEG`.
    """

    factors: ClassVar[tuple[int, ...]] = (1, 2, 0)
