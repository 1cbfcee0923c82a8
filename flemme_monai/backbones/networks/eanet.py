"""EANet."""

from __future__ import annotations

from ...blocks import ConvBlock, Stage
from ...blocks.external_attention import ExternalAttention
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..context_head import ContextDecoder, LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet

MULTI_GRID = (1, 2, 4)


class EANet(Backbone):
    """EANet (Guo, Liu, Mu, Hu, TPAMI 2023): external attention on a dilated ResNet, linear in the positions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8, 16 or 32.
        attention_channels: width of the attention.
        memories: of the attention.
        head_channels: width of the head.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
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
        attention_channels: int = 512,
        memories: int = 64,
        head_channels: int = 256,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = ResNet(
            spatial_dims, in_channels, depth, channels, output_stride, MULTI_GRID, keep=[False] * 5, norm=norm, act=act
        )
        load_encoder_weights(trunk, encoder_weights)
        context = [
            ConvBlock(spatial_dims, trunk.latent_channels, attention_channels, norm, act),
            ExternalAttention(spatial_dims, attention_channels, memories, norm, act),
            ConvBlock(spatial_dims, attention_channels, head_channels, norm, act),
        ]
        super().__init__(
            trunk,
            ContextDecoder(
                Stage(context, [attention_channels, attention_channels, head_channels]),
                head_channels,
                LogitsHead(spatial_dims, head_channels, out_channels, trunk.size_divisor, dropout),
            ),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"denoise": interpolated_without_layers(output_stride)},
            checkpointing=checkpointing,
        )
