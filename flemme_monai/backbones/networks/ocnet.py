"""Object context networks: OCNet, OCRNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from ...blocks import ConditionEmbeddings, InterpolateUp, Stage, resized_like
from ...blocks.conv_norm import ConvNormAct
from ...blocks.object_context import ObjectAttention, ObjectContext, ObjectRegions
from ..backbone import Backbone, DecoderOutput, convolutions_of
from ..conditioning import ConditioningConfig
from ..context_head import AuxiliaryHead, ContextDecoder, LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet
from .unet import SKIPS_PASS_THE_LATENT

AUXILIARY_WEIGHT = 0.4


class OCNet(Backbone):
    """OCNet in its base form (Yuan et al., arXiv 1809.00916, 2018; IJCV 2021): each position of a dilated ResNet's
    feature beside the mean over the positions that are like it.

    Args:
        spatial_dims: 2 or 3. The attention of N positions takes N^2 steps: 3D crops are to be small.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        head_channels: width of the context.
        key_channels: width of queries, keys and values.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after the context and in the auxiliary head.
        deep_supervision: an auxiliary head on the third stage is supervised in training, by 0.4.
        encoder_weights: file of the ResNet's weights by torchvision's or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 101,
        channels: int = 64,
        output_stride: int = 16,
        head_channels: int = 512,
        key_channels: int = 256,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.05,
        deep_supervision: bool = False,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        keep = [False, False, False, deep_supervision, False]
        trunk = ResNet(spatial_dims, in_channels, depth, channels, output_stride, keep=keep, norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)
        reduce = ConvNormAct(spatial_dims, trunk.latent_channels, head_channels, norm=norm, act=act)
        context = ObjectContext(spatial_dims, head_channels, key_channels, norm, act, dropout)
        auxiliary = None
        if deep_supervision:
            stride, before = trunk.stride_of(3), trunk.feature_channels[3]
            auxiliary = AuxiliaryHead(spatial_dims, before, head_channels, out_channels, stride, norm, act, dropout)
        super().__init__(
            trunk,
            ContextDecoder(
                Stage([reduce, context], [head_channels] * 2),
                head_channels,
                LogitsHead(spatial_dims, head_channels, out_channels, trunk.size_divisor),
                auxiliary,
                AUXILIARY_WEIGHT,
            ),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"denoise": interpolated_without_layers(output_stride)},
            checkpointing=checkpointing,
        )


class ObjectContextDecoder(nn.Module):
    """latent -> positions; kept feature -> soft regions -> a vector each -> positions attend to regions -> output.

    Args:
        spatial_dims: 2 or 3.
        latent_channels: channels of the latent.
        region_channels: channels of the kept feature that soft regions are made of.
        head_channels: width of positions, regions and context.
        key_channels: width of queries, keys and values.
        out_channels: channels of the output, which is the number of regions.
        stride: of the latent.
        region_stride: of the kept feature.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before either logits.
        deep_supervision: whether the soft regions are a side output in training; they always make the output too.
    """

    def __init__(
        self,
        spatial_dims: int,
        latent_channels: int,
        region_channels: int,
        head_channels: int,
        key_channels: int,
        out_channels: int,
        stride: Sequence[int],
        region_stride: Sequence[int],
        norm: str | None,
        act: str | tuple,
        dropout: float,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        soft = OrderedDict(
            conv=ConvNormAct(spatial_dims, region_channels, head_channels, norm=norm, act=act),
            dropout=Dropout["dropout", spatial_dims](dropout),
            logits=Conv["conv", spatial_dims](head_channels, out_channels, 1),
        )
        self.soft_regions = nn.Sequential(soft)
        self.region_up = InterpolateUp(spatial_dims, out_channels, out_channels, region_stride)
        self.pixels = Stage(
            [ConvNormAct(spatial_dims, latent_channels, head_channels, norm=norm, act=act)], [head_channels]
        )
        self.regions = ObjectRegions()
        self.attention = ObjectAttention(spatial_dims, head_channels, key_channels, norm, act)
        self.fuse = Stage(
            [ConvNormAct(spatial_dims, 2 * head_channels, head_channels, 1, norm=norm, act=act)], [head_channels]
        )
        self.output_layer = LogitsHead(spatial_dims, head_channels, out_channels, stride, dropout)
        self.feature_channels = [head_channels]
        self.side_weights = [AUXILIARY_WEIGHT] if deep_supervision else []
        self.num_sides = len(self.side_weights)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept feature, which is the last of ``skips``, to the output.

        Args:
            latent: what the encoder made.
            skips: the features that it kept.
            conditions: embedded conditions, for the stages.
        """
        logits = self.soft_regions(skips[-1])  # (B, K, *s)
        pixels = self.pixels(latent) if conditions is None else self.pixels(latent, conditions)
        objects = self.regions(pixels, resized_like(logits, pixels))  # (B, C, K)
        x = torch.cat([self.attention(pixels, objects), pixels], 1)
        x = self.fuse(x) if conditions is None else self.fuse(x, conditions)
        sides: list[torch.Tensor] = []
        if self.training and self.num_sides > 0:
            sides.append(self.region_up(logits))
        return DecoderOutput(self.output_layer(x), [x], sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """The soft regions; the positions; their attention; the fusion."""
        return [[self.soft_regions], [self.pixels], [self.attention], [self.fuse]]


class OCRNet(Backbone):
    """OCRNet (Yuan, Chen, Wang, ECCV 2020): each position of a dilated ResNet's feature beside the mean of the vectors
    of soft object regions, one for each class, which an auxiliary head finds.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        head_channels: width of positions and regions.
        key_channels: width of queries, keys and values.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
        deep_supervision: the soft regions are supervised in training, by 0.4.
        encoder_weights: file of the ResNet's weights by torchvision's or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 101,
        channels: int = 64,
        output_stride: int = 16,
        head_channels: int = 512,
        key_channels: int = 256,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.05,
        deep_supervision: bool = False,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        keep = [False, False, False, True, False]
        trunk = ResNet(spatial_dims, in_channels, depth, channels, output_stride, keep=keep, norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)
        decoder = ObjectContextDecoder(
            spatial_dims,
            trunk.latent_channels,
            trunk.feature_channels[3],
            head_channels,
            key_channels,
            out_channels,
            trunk.size_divisor,
            trunk.stride_of(3),
            norm,
            act,
            dropout,
            deep_supervision,
        )
        super().__init__(
            trunk,
            decoder,
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": interpolated_without_layers(output_stride),
            },
            checkpointing=checkpointing,
        )

    def output_layers(self) -> list[nn.Module]:
        """The last convolution, and the one that makes the soft regions, of which there is one for each class."""
        return [*convolutions_of(cast(ObjectContextDecoder, self.decoder).soft_regions)[-1:], *super().output_layers()]
