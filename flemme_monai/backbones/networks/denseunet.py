"""DenseUNet: a decoder that adds the features of a DenseNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import Stage, keeps_bias, make_norm
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.densenet import DenseNetEncoder
from ..fuses import Add
from ..stages import StageDecoder, conv_stage
from .unet import SKIPS_PASS_THE_LATENT


class DenseUNet(Backbone):
    """The 2D DenseUNet of H-DenseUNet (Li et al., TMI 2018) on DenseNet-161.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        stem_channels: width of the DenseNet's stem.
        growth: channels that each of its layers adds.
        layers: of each of its four dense blocks.
        decoder_channels: width of the decoder at full size; its other stages have those of the features they add.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a value is dropped before the last norm.
        encoder_weights: file of weights of the DenseNet by torchvision's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stem_channels: int = 96,
        growth: int = 48,
        layers: Sequence[int] = (6, 12, 36, 24),
        decoder_channels: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.3,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family, conv = ConvFamily(norm=norm, act=act), Conv["conv", spatial_dims]
        encoder = DenseNetEncoder(
            spatial_dims,
            in_channels,
            stem_channels,
            growth,
            layers,
            norm=norm,
            act=act,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        latent, coarsest, *skips = encoder.feature_channels[::-1]  # coarse to fine
        features = [*skips, skips[-1], decoder_channels]
        stages = [
            conv_stage(spatial_dims, (before, after), norm, act)
            for before, after in zip([latent, *features[:-2]], features[:-1])
        ]
        end = OrderedDict(
            conv=conv(features[-2], decoder_channels, 3, padding=1, bias=keeps_bias(norm)),
            dropout=nn.Dropout(dropout),
            norm=make_norm(norm, spatial_dims, decoder_channels),
            act=get_act_layer(act),
        )
        stages.append(Stage([nn.Sequential(end)], [decoder_channels]))
        decoder = StageDecoder(
            [nn.Upsample(scale_factor=2, mode="nearest") for _ in stages],
            [_ProjectedAdd(spatial_dims, coarsest, latent), *(Add() for _ in features[1:])],
            stages,
            features,
            conv(decoder_channels, out_channels, 1),
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


class _ProjectedAdd(nn.Module):
    """The sum of a feature and of the encoder's, which a 1x1 convolution gives as many channels."""

    def __init__(self, spatial_dims: int, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = Conv["conv", spatial_dims](skip_channels, channels, 1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return x + self.proj(skip)
