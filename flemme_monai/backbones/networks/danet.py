"""DANet."""

from __future__ import annotations

import torch
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage
from ...blocks.position_attention import ChannelAffinity, PositionAttention, ScaledResidual
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet

MULTI_GRID = (1, 2, 4)
KEYS = 8  # channels of a branch for each of its queries and keys


class DualAttention(nn.Module):
    """latent -> a branch with position attention + a branch with channel affinity -> output layer.

    Args:
        position: the first branch.
        channel: the second branch.
        channels: channels of both.
        output_layer: from their sum to the output (B, out_channels, *S).
        side_heads: the same of either branch, for side outputs in training; [] for none.
    """

    def __init__(
        self,
        position: Stage,
        channel: Stage,
        channels: int,
        output_layer: nn.Module,
        side_heads: list[nn.Module],
    ) -> None:
        super().__init__()
        self.position, self.channel, self.output_layer = position, channel, output_layer
        self.side_heads = nn.ModuleList(side_heads)
        self.feature_channels, self.num_sides = [channels], len(side_heads)
        self.side_weights = [1.0] * len(side_heads)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) to the output and, in training, to the branches' side outputs.

        Args:
            latent: what the encoder made.
            skips: features that the encoder kept, of which none is used.
            conditions: embedded conditions, for both branches.
        """
        if conditions is None:
            branches = [self.position(latent), self.channel(latent)]
        else:
            branches = [self.position(latent, conditions), self.channel(latent, conditions)]
        x = branches[0] + branches[1]
        sides: list[torch.Tensor] = []
        if self.training:
            for i, head in enumerate(self.side_heads):
                sides.append(head(branches[i]))
        return DecoderOutput(self.output_layer(x), [x], sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """Both branches."""
        return [[self.position, self.channel]]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.side_heads)


class DANet(Backbone):
    """Dual attention network (Fu et al., CVPR 2019): attention among the positions and among the channels of a dilated
    ResNet's feature, in two branches that are added.

    Args:
        spatial_dims: 2 or 3. The attention of N positions takes N^2 steps: 3D crops are to be small.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        head_channels: width of each branch, of which queries and keys have an eighth.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
        deep_supervision: a head on each branch is supervised in training like the output.
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
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        deep_supervision: bool = False,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = ResNet(
            spatial_dims, in_channels, depth, channels, output_stride, MULTI_GRID, keep=[False] * 5, norm=norm, act=act
        )
        load_encoder_weights(trunk, encoder_weights)

        def branch(attention: nn.Module) -> Stage:
            before, after = (
                ConvBlock(spatial_dims, c, head_channels, norm=norm, act=act)
                for c in (trunk.latent_channels, head_channels)
            )
            return Stage([before, ScaledResidual(attention), after], [head_channels] * 3)

        def head() -> nn.Module:
            return LogitsHead(spatial_dims, head_channels, out_channels, trunk.size_divisor, dropout)

        position = branch(PositionAttention(spatial_dims, head_channels, max(1, head_channels // KEYS)))
        heads = [head(), head()] if deep_supervision else []
        super().__init__(
            trunk,
            DualAttention(position, branch(ChannelAffinity()), head_channels, head(), heads),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"denoise": interpolated_without_layers(output_stride)},
            checkpointing=checkpointing,
        )
