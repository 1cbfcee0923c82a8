"""UNet++: the grid of nodes between the way down and the way up of a U-Net.

X(i, j) is the node at level i (0 is the finest) and column j. Column 0 is the encoder, and the last level's X(n, 0) the
latent. A node sees all nodes before it at its level and, raised, the one below:
X(i, j) = stage([X(i, 0), ..., X(i, j - 1), up X(i + 1, j - 1)]).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConditionEmbeddings, InterpolateUp, Stage, TransposedConv
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..stages import conv_stage, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT, UPS


class GridNode(nn.Module):
    """X(i, j) of the nodes before it.

    Args:
        up: raises X(i + 1, j - 1) to the node's level.
        stage: from the channels of all that the node sees to its own.
        same: places of X(i, 0), ..., X(i, j - 1) in the list of nodes.
        below: place of X(i + 1, j - 1).
    """

    def __init__(self, up: nn.Module, stage: Stage, same: Sequence[int], below: int) -> None:
        super().__init__()
        self.up, self.stage = up, stage
        self.same, self.below = list(same), below

    def forward(self, nodes: list[torch.Tensor], conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """The nodes before it, each (B, C_i, *s_i), to its own (B, C, *s)."""
        seen = [nodes[place] for place in self.same]
        seen.append(self.up(nodes[self.below]))
        x = torch.cat(seen, 1)
        return self.stage(x) if conditions is None else self.stage(x, conditions)


class GridDecoder(nn.Module):
    """The nodes of columns 1 to n, column by column, and the output of the finest level.

    Args:
        nodes: the nodes by column, within one fine to coarse.
        feature_channels: channels of the nodes of the diagonal, X(n - 1, 1), ..., X(0, n).
        heads: from X(0, n) to the output, and under deep supervision from X(0, n - 1), ..., X(0, 1) too: the output is
            then the mean of all, and each is a side output.
    """

    def __init__(self, nodes: Sequence[GridNode], feature_channels: Sequence[int], heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(nodes)
        self.feature_channels = list(feature_channels)
        self.output_layer, self.side_heads = heads[0], nn.ModuleList(heads[1:])
        self.num_sides = len(heads) if len(heads) > 1 else 0

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent X(n, 0) (B, C, *s) and X(0, 0), ..., X(n - 1, 0) to the output and the nodes of the diagonal.

        Args:
            latent: what the encoder made.
            skips: the features that it kept, fine to coarse.
            conditions: embedded conditions, for the stages.
        """
        nodes, depth = skips + [latent], len(skips)
        features: list[torch.Tensor] = []
        finest: list[torch.Tensor] = []
        column, level = 1, 0
        for node in self.nodes:
            x = node(nodes) if conditions is None else node(nodes, conditions)
            nodes.append(x)
            if level == 0:
                finest.insert(0, x)
            if level + column == depth:
                features.append(x)
                column, level = column + 1, 0
            else:
                level += 1
        outputs = [self.output_layer(finest[0])]
        for i, head in enumerate(self.side_heads):
            outputs.append(head(finest[i + 1]))
        sides: list[torch.Tensor] = []
        if self.num_sides == 0:
            return DecoderOutput(outputs[0], features, sides)
        if self.training:
            sides = outputs
        return DecoderOutput(torch.stack(outputs).mean(0), features, sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """Node by node."""
        return [[node] for node in self.nodes]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.side_heads)


class UNetPlusPlus(Backbone):
    """UNet++ (Zhou et al., DLMIA 2018; IEEE TMI 2020) with nested, dense skips.

    Under deep supervision the output is the mean of the heads of all nodes of the finest level (the paper's accurate
    mode), and each of them is supervised; otherwise it is the head of the last node.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse; the last is the latent's.
        up: ``conv`` (transposed, as published) or ``interpolate`` (linear).
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        deep_supervision: supervise each node of the finest level.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If ``up`` is another word.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        up: str = "conv",
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if up not in UPS:
            raise ValueError(f"up is {up!r}; expected one of {', '.join(UPS)}.")
        family, stride, depth = ConvFamily(norm=norm, act=act), [2] * spatial_dims, len(channels) - 1
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [conv_stage(spatial_dims, (a, b, b), norm, act, dropout) for a, b in pairwise([in_channels, *channels])],
            channels[-1],
            family.min_latent_positions,
        )
        nodes: list[GridNode] = []
        places = {(i, 0): i for i in range(depth + 1)}
        for j in range(1, depth + 1):
            for i in range(depth + 1 - j):
                below, width = channels[i + 1], channels[i]
                raised = below if up == "interpolate" else width
                nodes.append(
                    GridNode(
                        InterpolateUp(spatial_dims, below, below, stride)
                        if up == "interpolate"
                        else TransposedConv(spatial_dims, below, width, stride, overlap=False),
                        conv_stage(spatial_dims, (j * width + raised, width, width), norm, act, dropout),
                        [places[i, column] for column in range(j)],
                        places[i + 1, j - 1],
                    )
                )
                places[i, j] = len(places)
        heads = [Conv["conv", spatial_dims](channels[0], out_channels, 1) for _ in range(depth)]
        super().__init__(
            encoder,
            GridDecoder(nodes, channels[-2::-1], heads if deep_supervision else heads[:1]),
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )
