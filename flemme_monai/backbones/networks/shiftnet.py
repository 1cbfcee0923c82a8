"""Networks at one resolution, of grouped convolutions between which channels roll: OneNet and LightNet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage
from ...blocks.resampling import StridedConv, TransposedConv
from ...blocks.shift_group import ChannelSum, ConcatenatedTaps, MultipliedTaps, ShiftGroupConv
from ..backbone import Backbone, check_image
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder

PATCH = 4
# of sixteen layers in seven stages, each of which is tapped
DILATIONS = ((1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4, 4), (4,), (8,), (16,), (32,))
# two slices of the original overlap, so that one feature comes twice: kept, since its published size counts on it
TAPS = (0, 1, 2, 3, 3, 4, 5, 6)


class ShiftEncoder(nn.Module):
    """Patches of 4 pixels -> wider and wider layers -> stages of growing dilation, of which features are tapped and
    fused to the latent.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        latent_channels: channels after the fusion.
        embed: the patches.
        widen: the layers that bring the channels up.
        stages: the dilated layers.
        taps: for each feature that is fused, the stage that it is taken after.
        fuse: from these features to the latent.
        min_latent_positions: positions that the latent needs in training.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        latent_channels: int,
        embed: nn.Module,
        widen: Stage,
        stages: Sequence[Stage],
        taps: Sequence[int],
        fuse: nn.Module,
        min_latent_positions: int,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, latent_channels
        self.size_divisor = [PATCH] * spatial_dims
        self.min_latent_positions = min_latent_positions
        self.embed, self.widen, self.stages = embed, widen, nn.ModuleList(stages)
        self.taps, self.fuse = list(taps), fuse

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, latent_channels, *(S / 4)), and nothing beside it.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        x = self.embed(x)
        x = self.widen(x) if conditions is None else self.widen(x, conditions)
        features: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
        tapped: list[torch.Tensor] = []
        for tap in self.taps:
            tapped.append(features[tap])
        skips: list[torch.Tensor] = []
        return self.fuse(tapped) if conditions is None else self.fuse(tapped, conditions), skips

    def forward_order(self) -> list[list[nn.Module]]:
        """Patches, widening, stages, fusion."""
        return [[self.embed], [self.widen], *([stage] for stage in self.stages), [self.fuse]]


def _check_taps(dilations: Sequence[Sequence[int]], taps: Sequence[int]) -> None:
    if set(taps) != set(range(len(dilations))):
        raise ValueError(
            f"taps is {list(taps)}; expected every one of the {len(dilations)} stages of dilations, from 0, once or "
            "more: a stage that nothing is taken after would learn nothing at the end."
        )


class OneNet(Backbone):
    """OneNet of JMedSeg (no paper): shift-group convolutions at a quarter of the resolution, eight features of which
    are concatenated.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: of the patches, and after each widening layer.
        group_width: channels in a group.
        dilations: of the layers, in stages.
        taps: for each concatenated feature, the stage that it is taken after.
        head_channels: to which the concatenated features are reduced.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the output layer.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If a stage is not tapped, or the width of a group does not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (128, 256, 512, 1024),
        group_width: int = 16,
        dilations: Sequence[Sequence[int]] = DILATIONS,
        taps: Sequence[int] = TAPS,
        head_channels: int = 256,
        norm: str | None = "group",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        _check_taps(dilations, taps)
        width, half = channels[-1], group_width // 2
        widen = [
            ShiftGroupConv(spatial_dims, a, b, group_width, group_width * b // a // 2, norm=norm, act=act)
            for a, b in pairwise(channels)
        ]
        stages = [
            Stage(
                [ShiftGroupConv(spatial_dims, width, width, group_width, half, d, norm=norm, act=act) for d in rates],
                [width] * len(rates),
            )
            for rates in dilations
        ]
        num_groups = head_channels // group_width
        reduce = ConvBlock(
            spatial_dims,
            len(taps) * width,
            head_channels,
            kernel_size=1,
            norm=norm,
            act=act,
            num_groups=num_groups,
            bias=False,
        )
        family = ConvFamily(norm=norm, act=act, num_groups=num_groups)
        stride = [PATCH] * spatial_dims
        encoder = ShiftEncoder(
            spatial_dims,
            in_channels,
            head_channels,
            StridedConv(spatial_dims, in_channels, channels[0], stride, overlap=False),
            Stage(widen, channels[1:]),
            stages,
            taps,
            ConcatenatedTaps(Stage([reduce], [head_channels])),
            family.min_latent_positions,
        )
        decoder = StageDecoder(
            [nn.Identity()],
            [Cat()],
            [Stage([Dropout["dropout", spatial_dims](dropout)], [head_channels])],
            [head_channels],
            TransposedConv(spatial_dims, head_channels, out_channels, stride, overlap=False),
        )
        super().__init__(encoder, decoder, out_channels, family, conditioning, checkpointing=checkpointing)


class LightNet(Backbone):
    """LightNet of JMedSeg (no paper): as :class:`OneNet`, of the sum of an image's channels, and the eight features are
    multiplied.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image; the network sees their sum, as a grey image.
        out_channels: channels of the output.
        channels: of the patches, and after each widening layer.
        group_width: channels in a group.
        dilations: of the layers, in stages.
        taps: for each multiplied feature, the stage that it is taken after.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If a stage is not tapped, or the width of a group does not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        group_width: int = 16,
        dilations: Sequence[Sequence[int]] = DILATIONS,
        taps: Sequence[int] = TAPS,
        norm: str | None = "group",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        _check_taps(dilations, taps)
        width, shift = channels[-1], group_width // 2

        def layer(before: int, after: int, group: int, dilation: int = 1, kernel_size: int = 3) -> ShiftGroupConv:
            return ShiftGroupConv(spatial_dims, before, after, group, shift, dilation, kernel_size, norm, act)

        widen = [layer(a, b, group_width) for a, b in pairwise(channels)]
        stages = [
            Stage([layer(width, width, group_width, d) for d in rates], [width] * len(rates)) for rates in dilations
        ]
        products = [Stage([layer(width, width, group_width, kernel_size=1)], [width]) for _ in taps[1:]]
        narrow = [layer(width >> i, width >> i + 1, 2 * group_width, kernel_size=1) for i in range(2)]
        family = ConvFamily(norm=norm, act=act, num_groups=width // 4 // group_width)
        stride = [PATCH] * spatial_dims
        patches = Conv["conv", spatial_dims](1, channels[0], PATCH, stride=PATCH)
        encoder = ShiftEncoder(
            spatial_dims,
            in_channels,
            width,
            nn.Sequential(ChannelSum(), patches),
            Stage(widen, channels[1:]),
            stages,
            taps,
            MultipliedTaps(products),
            family.min_latent_positions,
        )
        decoder = StageDecoder(
            [nn.Identity()],
            [Cat()],
            [Stage(narrow, [width // 2, width // 4])],
            [width // 4],
            TransposedConv(spatial_dims, width // 4, out_channels, stride, overlap=False),
        )
        super().__init__(encoder, decoder, out_channels, family, conditioning, checkpointing=checkpointing)
