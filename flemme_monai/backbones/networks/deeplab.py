"""DeepLabs on a ResNet: DeepLabV2, DeepLabV3Plus."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from monai.networks.layers.factories import Dropout
from torch import nn

from ...blocks import InterpolateUp, Stage
from ...blocks.aspp import AtrousPyramid, AtrousSum
from ..backbone import Backbone, convolutions_of
from ..conditioning import ConditioningConfig
from ..context_head import ContextDecoder, LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet
from ..fuses import CatReduced
from ..stages import StageDecoder, conv_stage
from .unet import SKIPS_PASS_THE_LATENT

MULTI_GRID = (1, 2, 4)
LOW_LEVEL_STRIDE = 4  # of the first stage's feature


def _scaled(dilations: Sequence[int], published_stride: int, output_stride: int) -> list[int]:
    """Dilations that span as many of the image's positions as those published for another output stride."""
    return [max(1, dilation * published_stride // output_stride) for dilation in dilations]


class DeepLabV2(Backbone):
    """DeepLab V2 (Chen et al., TPAMI 2018) without its random field: a dilated ResNet, and the sum of four dilated
    convolutions straight to the logits.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        dilations: of the four convolutions at an output stride of 8; they shrink as it grows.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the four convolutions.
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
        dilations: Sequence[int] = (6, 12, 18, 24),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = ResNet(spatial_dims, in_channels, depth, channels, output_stride, keep=[False] * 5, norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)
        latent = trunk.latent_channels
        head = OrderedDict(
            sum=AtrousSum(spatial_dims, latent, out_channels, _scaled(dilations, 8, output_stride)),
            up=InterpolateUp(spatial_dims, out_channels, out_channels, trunk.size_divisor),
        )
        context = Stage([Dropout["dropout", spatial_dims](dropout)], [latent])
        super().__init__(
            trunk,
            ContextDecoder(context, latent, nn.Sequential(head)),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"denoise": interpolated_without_layers(output_stride)},
            checkpointing=checkpointing,
        )

    def output_layers(self) -> list[nn.Module]:
        """All four convolutions."""
        return convolutions_of(self.output_layer())


class DeepLabV3Plus(Backbone):
    """DeepLab V3+ (Chen et al., ECCV 2018): atrous spatial pyramid pooling on a dilated ResNet, refined by a feature of
    the first stage.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8, 16 or 32.
        dilations: of the pyramid at an output stride of 16; they double at 8.
        head_channels: width of the pyramid and of what follows.
        low_level_channels: width to which the first stage's feature is reduced.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel of the pyramid is dropped.
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
        dilations: Sequence[int] = (6, 12, 18),
        head_channels: int = 256,
        low_level_channels: int = 48,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.5,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        keep = [False, True, False, False, False]
        trunk = ResNet(
            spatial_dims, in_channels, depth, channels, output_stride, MULTI_GRID, keep=keep, norm=norm, act=act
        )
        load_encoder_weights(trunk, encoder_weights)
        rates = _scaled(dilations, 16, output_stride)
        pyramid = AtrousPyramid(spatial_dims, trunk.latent_channels, head_channels, rates, norm, act, dropout)
        up = InterpolateUp(
            spatial_dims, head_channels, head_channels, [output_stride // LOW_LEVEL_STRIDE] * spatial_dims
        )
        fused = low_level_channels + head_channels
        decoder = StageDecoder(
            [up],
            [CatReduced(spatial_dims, trunk.feature_channels[1], low_level_channels, norm, act)],
            [conv_stage(spatial_dims, (fused, head_channels, head_channels), norm, act)],
            [head_channels],
            LogitsHead(spatial_dims, head_channels, out_channels, [LOW_LEVEL_STRIDE] * spatial_dims),
            center=Stage([pyramid], [head_channels]),
        )
        super().__init__(
            trunk,
            decoder,
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": interpolated_without_layers(LOW_LEVEL_STRIDE),
            },
            checkpointing=checkpointing,
        )
