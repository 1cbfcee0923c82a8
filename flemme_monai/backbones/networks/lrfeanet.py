"""A trunk of large receptive fields under external attention: LRFEANet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from monai.networks.layers.factories import Dropout
from torch import nn

from ...blocks import ConvBlock, InterpolateUp, Stage, TransposedConv
from ...blocks.aggregation import AggregationBlock, PatchMerge, PatchSplit
from ...blocks.external_attention import ExternalAttention
from ...blocks.layers import groups_of_16
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..context_head import interpolated_without_layers
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder, StageEncoder

DILATIONS = ((1,), (1,) * 5, (1,) * 5, (1, 1, 2) * 6, (1, 2, 4, 8))
HEAD_STRIDE = 4


class LRFEANet(Backbone):
    """LRF-EANet of JMedSeg (no paper): patches merged four times, blocks that aggregate neighbours, and the external
    attention of EANet (Guo et al., TPAMI 2023).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each stage; the first four halve the resolution.
        dilations: of the blocks of each stage.
        memories: of the external attention.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the output layer.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If ``channels`` or ``dilations`` is not of five stages.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 64, 128, 256, 512),
        dilations: Sequence[Sequence[int]] = DILATIONS,
        memories: int = 64,
        norm: str | None = "group",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if not len(channels) == len(dilations) == 5:
            raise ValueError(
                f"channels has {len(channels)} stages and dilations {len(dilations)}; expected five: four that halve "
                "the resolution and one that keeps it."
            )
        latent, head = channels[-1], channels[-1] // 2
        family = ConvFamily(norm=norm, act=act, num_groups=groups_of_16(head))
        downs: list[nn.Module] = [
            PatchMerge(spatial_dims, before, after, norm, act)
            for before, after in zip([in_channels, *channels[:3]], channels[:4])
        ]
        widen = ConvBlock(
            spatial_dims,
            channels[3],
            latent,
            kernel_size=1,
            norm=norm,
            act=act,
            num_groups=groups_of_16(latent),
            bias=norm is None,
        )
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            downs=[*downs, widen],
            stages=[
                Stage([AggregationBlock(spatial_dims, width, d, norm, act) for d in rates], [width] * len(rates))
                for width, rates in zip(channels, dilations)
            ],
            strides=[2, 2, 2, 2, 1],
            latent_channels=latent,
            keep=[False] * 4,
            min_latent_positions=family.min_latent_positions,
        )
        attention = ExternalAttention(spatial_dims, latent, memories, norm, act, num_groups=groups_of_16(latent))
        layers: dict[str, nn.Module] = {
            "up": TransposedConv(spatial_dims, head, out_channels, [2] * spatial_dims, overlap=False),
            "resize": InterpolateUp(spatial_dims, out_channels, out_channels, [HEAD_STRIDE] * spatial_dims),
        }
        decoder = StageDecoder(
            [PatchSplit(spatial_dims, latent, head, norm, act)],
            [Cat()],
            [Stage([Dropout["dropout", spatial_dims](dropout)], [head])],
            [head],
            nn.Sequential(OrderedDict(layers)),
            center=Stage([attention], [latent]),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"denoise": interpolated_without_layers(HEAD_STRIDE)},
            checkpointing=checkpointing,
        )
