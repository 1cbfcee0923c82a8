"""The two halves of most published networks: stages on the way down, whose features are kept, and on the way up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from monai.networks.layers.factories import Pool
from torch import nn

from ..blocks import ConditionEmbeddings, ConvBlock, Stage
from .backbone import DecoderOutput, check_image


class StageEncoder(nn.Module):
    """[down -> stage -> keep] x levels; the last stage's feature is the latent.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        downs: what comes before each stage: a stem or an Identity before the first, then what lowers the resolution.
        stages: a stage for each level, fine to coarse.
        strides: the factor of each of ``downs``, one number or one per axis.
        latent_channels: channels after the last stage.
        keep: whether each feature but the last is kept for the decoder; None keeps all.
        min_latent_positions: positions that the latent needs in training; 2 under instance norm.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        downs: Sequence[nn.Module],
        stages: Sequence[Stage],
        strides: Sequence[int | Sequence[int]],
        latent_channels: int,
        keep: Sequence[bool] | None = None,
        min_latent_positions: int = 1,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, latent_channels
        per_axis = [[stride] * spatial_dims if isinstance(stride, int) else list(stride) for stride in strides]
        self.size_divisor = [prod(axis) for axis in zip(*per_axis)]
        self.min_latent_positions = min_latent_positions
        self.downs, self.stages = nn.ModuleList(downs), nn.ModuleList(stages)
        self.keep = [True] * (len(stages) - 1) if keep is None else list(keep)

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, latent_channels, *s) and the kept features, fine to coarse.

        Args:
            x: the image.
            conditions: embedded conditions, for the stages.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        skips: list[torch.Tensor] = []
        for i, (down, stage) in enumerate(zip(self.downs, self.stages)):
            x = down(x)
            x = stage(x) if conditions is None else stage(x, conditions)
            if i < len(self.keep) and self.keep[i]:
                skips.append(x)
        return x, skips

    def forward_order(self) -> list[list[nn.Module]]:
        """Each stage with what comes before it."""
        return [list(level) for level in zip(self.downs, self.stages)]


class StageDecoder(nn.Module):
    """latent -> centre -> [up -> fuse -> stage] x levels -> output layer.

    Args:
        ups: what raises the resolution of each level, coarse to fine.
        fuses: what brings the kept feature of a level in: ``fuse(x, skip)``, both (B, C, *s) with channels of their
            own (:mod:`flemme_monai.backbones.fuses`). Levels after the last kept feature have one too, which
            is not called.
        stages: a stage for each level.
        feature_channels: channels after each stage.
        output_layer: from the last feature to the output (B, out_channels, *S); its last convolution makes the output.
        center: a stage of context modules that the latent passes first; None: not used.
        side_heads: for each level, coarse to fine, what makes a side output of its feature in training; an entry None
            makes none. Heads belong to networks under deep supervision alone.
        side_weights: weights of the losses of the side outputs, the finest first, where the output's is 1.
    """

    def __init__(
        self,
        ups: Sequence[nn.Module],
        fuses: Sequence[nn.Module],
        stages: Sequence[Stage],
        feature_channels: Sequence[int],
        output_layer: nn.Module,
        center: Stage | None = None,
        side_heads: Sequence[nn.Module | None] = (),
        side_weights: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.center = center
        self.ups, self.fuses, self.stages = nn.ModuleList(ups), nn.ModuleList(fuses), nn.ModuleList(stages)
        self.feature_channels = list(feature_channels)
        self.output_layer = output_layer
        heads = list(side_heads) or [None] * len(stages)
        self.has_side = [head is not None for head in heads]
        self.side_heads = nn.ModuleList([nn.Identity() if head is None else head for head in heads])
        self.num_sides, self.side_weights = sum(self.has_side), list(side_weights)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept features, fine to coarse, to the output and the stages' features.

        Args:
            latent: what the encoder made.
            skips: the features that it kept.
            conditions: embedded conditions, for the stages.
        """
        x = latent
        if self.center is not None:
            x = self.center(x) if conditions is None else self.center(x, conditions)
        features: list[torch.Tensor] = []
        sides: list[torch.Tensor] = []
        for i, (up, fuse, stage, side_head) in enumerate(zip(self.ups, self.fuses, self.stages, self.side_heads)):
            x = up(x)
            if i < len(skips):
                x = fuse(x, skips[len(skips) - 1 - i])
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
            if self.training and self.has_side[i]:
                sides.append(side_head(x))
        return DecoderOutput(self.output_layer(x), features, sides[::-1])

    def forward_order(self) -> list[list[nn.Module]]:
        """The centre; each level."""
        center: list[list[nn.Module]] = [] if self.center is None else [[self.center]]
        return center + [list(level) for level in zip(self.ups, self.fuses, self.stages)]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.side_heads)


def conv_stage(
    spatial_dims: int,
    channels: Sequence[int],
    norm: str | None,
    act: str | tuple,
    dropout: float = 0.0,
    after: Sequence[nn.Module] = (),
) -> Stage:
    """3x3 convolutions in a row, each with its norm and activation, as U-Nets have them.

    Args:
        spatial_dims: 2 or 3.
        channels: channels before the first convolution and after each.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        after: modules that keep the shape, after the convolutions.
    """
    pairs = list(pairwise(channels))
    blocks = [ConvBlock(spatial_dims, a, b, norm, act, dropout=dropout) for a, b in pairs]
    return Stage([*blocks, *after], [b for _, b in pairs] + [0] * len(after))


def pooled_encoder(
    spatial_dims: int,
    in_channels: int,
    stages: Sequence[Stage],
    latent_channels: int,
    min_latent_positions: int = 1,
    first_stride: int = 1,
) -> StageEncoder:
    """Stages with max-pooling by two before each but the first.

    Args:
        first_stride: the factor by which the first stage itself lowers the resolution.
        others: as of :class:`StageEncoder`.
    """
    pool = Pool["max", spatial_dims]
    return StageEncoder(
        spatial_dims,
        in_channels,
        downs=[nn.Identity(), *(pool(2) for _ in stages[1:])],
        stages=stages,
        strides=[first_stride, *[2] * (len(stages) - 1)],
        latent_channels=latent_channels,
        min_latent_positions=min_latent_positions,
    )
