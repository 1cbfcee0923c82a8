"""PSPNet."""

from __future__ import annotations

from collections.abc import Sequence

from ...blocks import ConvBlock, Stage
from ...blocks.pyramid_pooling import PyramidPooling
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..context_head import AuxiliaryHead, ContextDecoder, LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet


class PSPNet(Backbone):
    """Pyramid scene parsing network (Zhao et al., CVPR 2017): means over grids of several sizes beside the feature of a
    dilated ResNet.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        grids: areas along each axis, for each mean.
        head_channels: width of each mean and of the head.
        auxiliary_channels: width of the auxiliary head.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
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
        grids: Sequence[int] = (1, 2, 3, 6),
        head_channels: int = 512,
        auxiliary_channels: int = 256,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        deep_supervision: bool = False,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        keep = [False, False, False, deep_supervision, False]
        trunk = ResNet(spatial_dims, in_channels, depth, channels, output_stride, keep=keep, norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)
        pooling = PyramidPooling(spatial_dims, trunk.latent_channels, head_channels, grids, norm, act)
        fuse = ConvBlock(spatial_dims, pooling.out_channels, head_channels, norm, act)
        auxiliary = None
        if deep_supervision:
            stride, before = trunk.stride_of(3), trunk.feature_channels[3]
            auxiliary = AuxiliaryHead(
                spatial_dims, before, auxiliary_channels, out_channels, stride, norm, act, dropout
            )
        super().__init__(
            trunk,
            ContextDecoder(
                Stage([pooling, fuse], [pooling.out_channels, head_channels]),
                head_channels,
                LogitsHead(spatial_dims, head_channels, out_channels, trunk.size_divisor, dropout),
                auxiliary,
            ),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"denoise": interpolated_without_layers(output_stride)},
            checkpointing=checkpointing,
        )
