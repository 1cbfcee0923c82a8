"""Object context networks: OCNet, OCRNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, InterpolateUp, Stage, resized_like
from ...blocks.object_context import ObjectAttention, ObjectContext, ObjectRegions
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import AuxiliaryHead, ContextDecoder, LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.hrnet import HRNetEncoder, joined
from ..extractors.resnet import ResNet
from .unet import SKIPS_PASS_THE_LATENT

AUXILIARY_WEIGHT = 0.4
HRNET_STRIDE = 4  # of its finest branch


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
        reduce = ConvBlock(spatial_dims, trunk.latent_channels, head_channels, norm=norm, act=act)
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


class JoinBranches(nn.Module):
    """All branches of an HRNet at the finest one's resolution.

    Args:
        coarsest: channels of the coarsest branch, which is the end of the latent.
    """

    def __init__(self, coarsest: int) -> None:
        super().__init__()
        self.coarsest = coarsest

    def forward(self, latent: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """The latent and the finer branches (B, C_i, *s_i), fine to coarse, to (B, sum of C_i, *s_0)."""
        return joined(skips + [latent[:, -self.coarsest :]])


class ObjectContextDecoder(nn.Module):
    """latent -> positions; kept feature -> soft regions -> a vector each -> positions attend to regions -> output.

    Args:
        spatial_dims: 2 or 3.
        pixels: a stage from the latent to the positions.
        soft_regions: from the last feature that the encoder kept to a map for each class.
        head_channels: channels of the positions, the regions and the context.
        key_channels: width of queries, keys and values.
        out_channels: channels of the output, which is the number of regions.
        strides: of the positions, and of the soft regions.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
        deep_supervision: whether the soft regions are a side output in training; they always make the output too.
        join: makes of the latent and the kept features the one that both the positions and the soft regions are of;
            None: not used.
    """

    def __init__(
        self,
        spatial_dims: int,
        pixels: Stage,
        soft_regions: nn.Module,
        head_channels: int,
        key_channels: int,
        out_channels: int,
        strides: tuple[Sequence[int], Sequence[int]],
        norm: str | None,
        act: str | tuple,
        dropout: float,
        deep_supervision: bool,
        join: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.join, self.pixels, self.soft_regions = join, pixels, soft_regions
        self.region_up = InterpolateUp(spatial_dims, out_channels, out_channels, strides[1])
        self.regions = ObjectRegions()
        self.attention = ObjectAttention(spatial_dims, head_channels, key_channels, norm, act)
        self.fuse = Stage(
            [ConvBlock(spatial_dims, 2 * head_channels, head_channels, kernel_size=1, norm=norm, act=act)],
            [head_channels],
        )
        self.output_layer = LogitsHead(spatial_dims, head_channels, out_channels, strides[0], dropout)
        self.feature_channels = [head_channels]
        self.side_weights = [AUXILIARY_WEIGHT] if deep_supervision else []
        self.num_sides = len(self.side_weights)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept features to the output.

        Args:
            latent: what the encoder made.
            skips: the features that it kept.
            conditions: embedded conditions, for the stages.
        """
        x, of_regions = latent, skips[-1]
        if self.join is not None:
            x = self.join(latent, skips)
            of_regions = x
        logits = self.soft_regions(of_regions)  # (B, K, *s)
        pixels = self.pixels(x) if conditions is None else self.pixels(x, conditions)
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

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return [self.soft_regions]


class OCRNet(Backbone):
    """OCRNet (Yuan, Chen, Wang, ECCV 2020): each position of the trunk's feature beside the mean of the vectors of soft
    object regions, one for each class, which an auxiliary head finds.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        trunk: ``resnet``, dilated, or ``hrnet``, all of whose branches are joined at a quarter of the image's size.
        depth: of the ResNet.
        channels: width of the ResNet's stem and first stage, or of the HRNet's finest branch: 48 as published.
        output_stride: of the ResNet: 8 as published, 16 or 32, which take less memory.
        head_channels: width of positions and regions.
        key_channels: width of queries, keys and values.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the logits.
        deep_supervision: the soft regions are supervised in training, by 0.4.
        encoder_weights: file of the trunk's weights by torchvision's, timm's or HRNet's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the trunk is another.
    """

    trunks: ClassVar[tuple[str, ...]] = ("resnet", "hrnet")

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        trunk: str = "resnet",
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
        if trunk not in self.trunks:
            raise ValueError(f"trunk is {trunk!r}; expected one of {', '.join(self.trunks)}.")

        def conv(before: int, after: int, kernel_size: int) -> nn.Module:
            return ConvBlock(spatial_dims, before, after, kernel_size=kernel_size, norm=norm, act=act)

        family = ConvFamily(norm=norm, act=act)
        encoder: HRNetEncoder | ResNet
        join: nn.Module | None = None
        if trunk == "hrnet":
            encoder = HRNetEncoder(
                spatial_dims,
                in_channels,
                channels,
                norm=norm,
                act=act,
                min_latent_positions=family.min_latent_positions,
            )
            join = JoinBranches(encoder.feature_channels[-1])
            width = of_regions = sum(encoder.feature_channels)
            strides = [HRNET_STRIDE] * spatial_dims, [HRNET_STRIDE] * spatial_dims
            before_regions, head_stride = conv(width, width, 1), HRNET_STRIDE
        else:
            keep = [False, False, False, True, False]
            encoder = ResNet(spatial_dims, in_channels, depth, channels, output_stride, keep=keep, norm=norm, act=act)
            width, of_regions = encoder.latent_channels, head_channels
            strides = encoder.size_divisor, encoder.stride_of(3)
            before_regions, head_stride = conv(encoder.feature_channels[3], head_channels, 3), output_stride
        load_encoder_weights(encoder, encoder_weights)
        soft_regions = OrderedDict(
            conv=before_regions,
            dropout=Dropout["dropout", spatial_dims](dropout),
            logits=Conv["conv", spatial_dims](of_regions, out_channels, 1),
        )
        decoder = ObjectContextDecoder(
            spatial_dims,
            Stage([conv(width, head_channels, 3)], [head_channels]),
            nn.Sequential(soft_regions),
            head_channels,
            key_channels,
            out_channels,
            strides,
            norm,
            act,
            dropout,
            deep_supervision,
            join,
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": interpolated_without_layers(head_stride),
            },
            checkpointing=checkpointing,
        )
