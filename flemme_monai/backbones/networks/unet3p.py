"""UNet 3+: each node of the way up sees all levels at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage, linear_resize
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..stages import conv_stage, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT


class FullScaleNode(nn.Module):
    """A node of the way up: features of all levels at its resolution, each of the same width, then one convolution.

    Args:
        sources: for each level, fine to coarse, what follows the change of resolution.
        shrinks: for each level what lowers its resolution to the node's; an Identity where nothing does.
        stage: from the channels of all sources to the same.
        level: the node's level, 0 is the finest.
    """

    def __init__(self, sources: Sequence[nn.Module], shrinks: Sequence[nn.Module], stage: Stage, level: int) -> None:
        super().__init__()
        self.sources, self.shrinks = nn.ModuleList(sources), nn.ModuleList(shrinks)
        self.stage, self.level = stage, level

    def forward(self, levels: list[torch.Tensor], conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """Features of all levels (B, C_i, *s_i), fine to coarse, to the node's (B, C, *s)."""
        size = list(levels[self.level].shape[2:])
        parts: list[torch.Tensor] = []
        for i, (source, shrink) in enumerate(zip(self.sources, self.shrinks)):
            x = shrink(levels[i])
            parts.append(source(linear_resize(x, size) if i > self.level else x))
        x = torch.cat(parts, 1)
        return self.stage(x) if conditions is None else self.stage(x, conditions)


class FullScaleDecoder(nn.Module):
    """Nodes coarse to fine, of which each replaces the encoder's feature of its level for those that follow.

    Args:
        nodes: the nodes, coarse to fine.
        channels: channels of a node.
        output_layer: from the finest node to the output.
        side_heads: from the latent and from each other node, coarse to fine, to side outputs in training, which are
            interpolated to the image's size; they belong to networks under deep supervision alone.
    """

    def __init__(
        self,
        nodes: Sequence[FullScaleNode],
        channels: int,
        output_layer: nn.Module,
        side_heads: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.nodes, self.output_layer = nn.ModuleList(nodes), output_layer
        self.side_heads = nn.ModuleList(side_heads)
        self.feature_channels = [channels] * len(nodes)
        self.num_sides = len(side_heads)
        self.side_weights = [1.0] * self.num_sides

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept features, fine to coarse, to the output and the nodes' features.

        Args:
            latent: what the encoder made.
            skips: the features that it kept.
            conditions: embedded conditions, for the stages.
        """
        levels = skips + [latent]
        features: list[torch.Tensor] = []
        for i, node in enumerate(self.nodes):
            x = node(levels) if conditions is None else node(levels, conditions)
            levels[len(skips) - 1 - i] = x
            features.append(x)
        output = self.output_layer(levels[0])
        sides: list[torch.Tensor] = []
        if self.training:
            for i, head in enumerate(self.side_heads):
                sides.insert(0, linear_resize(head(levels[len(skips) - i]), list(output.shape[2:])))
        return DecoderOutput(output, features, sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """Node by node."""
        return [[node] for node in self.nodes]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.side_heads)


class UNet3Plus(Backbone):
    """UNet 3+ (Huang et al., ICASSP 2020) with full-scale skips.

    Under deep supervision the latent and each node have a head, whose outputs count as much as the finest node's. The
    paper's classification-guided module, which needs a label of the whole image, is left out.

    Args:
        spatial_dims: 2 or 3; nodes of five times ``skip_channels`` at the image's resolution ask in 3D for a smaller
            one.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level of the encoder, fine to coarse; the last is the latent's.
        skip_channels: channels that each level gives to a node; a node has them times the number of levels.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution of the encoder.
        deep_supervision: supervise the latent and each node.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        skip_channels: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        conv, pool = Conv["conv", spatial_dims], Pool["max", spatial_dims]
        family, depth = ConvFamily(norm=norm, act=act), len(channels) - 1
        node_channels = skip_channels * len(channels)
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [conv_stage(spatial_dims, (a, b, b), norm, act, dropout) for a, b in pairwise([in_channels, *channels])],
            channels[-1],
            family.min_latent_positions,
        )

        def node(level: int) -> FullScaleNode:
            seen = [*channels[: level + 1], *[node_channels] * (depth - level - 1), channels[-1]]
            return FullScaleNode(
                [ConvBlock(spatial_dims, width, skip_channels, norm, act) for width in seen],
                [pool(2 ** (level - i)) if i < level else nn.Identity() for i in range(depth + 1)],
                conv_stage(spatial_dims, (node_channels, node_channels), norm, act),
                level,
            )

        heads = [conv(width, out_channels, 3, padding=1) for width in (channels[-1], *[node_channels] * depth)]
        super().__init__(
            encoder,
            FullScaleDecoder(
                [node(level) for level in range(depth - 1, -1, -1)],
                node_channels,
                heads[-1],
                heads[:-1] if deep_supervision else (),
            ),
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )
