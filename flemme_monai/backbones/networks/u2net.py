"""U²-Net, a U of residual U-blocks, in two sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from ...blocks import ConditionEmbeddings, InterpolateUp, Stage, linear_resize
from ...blocks.rsu import ResidualUBlock
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder, StageEncoder
from .unet import SKIPS_PASS_THE_LATENT

LEVELS = (7, 6, 5, 4, 4, 4)  # of the residual U-blocks, fine to coarse
POOLING = (True, True, True, True, False, False)


class FusedMapsDecoder(nn.Module):
    """A map of the classes from the latent and from every stage; all of them, resized to full size, make the output.

    Args:
        body: the stages.
        heads: from each of the features of ``body``, coarse to fine, and before them from the latent, to a map
            (B, out_channels, *s_i).
        output_layer: from all maps (B, heads x out_channels, *S) to the output.
        deep_supervision: whether the maps are side outputs, each with the weight of the output.
    """

    def __init__(
        self, body: StageDecoder, heads: Sequence[nn.Module], output_layer: nn.Module, deep_supervision: bool
    ) -> None:
        super().__init__()
        self.body, self.heads, self.output_layer = body, nn.ModuleList(heads), output_layer
        self.feature_channels = body.feature_channels
        self.num_sides = len(heads) if deep_supervision else 0
        self.side_weights = [1.0] * self.num_sides

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) and the kept features, fine to coarse, to the output, the features and the maps."""
        features = self.body(latent, skips, conditions).features
        inputs = [latent] + features
        size = list(features[-1].shape[2:])
        maps: list[torch.Tensor] = []
        full: list[torch.Tensor] = []
        for i, head in enumerate(self.heads):
            maps.append(head(inputs[i]))
            full.append(linear_resize(maps[i], size))
        output = self.output_layer(torch.cat(full[::-1], 1))
        sides: list[torch.Tensor] = []
        if self.training and self.num_sides > 0:
            sides = maps[::-1]
        return DecoderOutput(output, features, sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """The stages, then the heads."""
        return [*self.body.forward_order(), [self.heads]]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.heads)


class U2Net(Backbone):
    """U²-Net (Qin et al., Pattern Recognition 2020).

    Its six maps are compared with labels at their own resolutions, where the paper's are at full size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width after each of the encoder's six stages, fine to coarse; a stage of the decoder has that of the
            stage above it.
        inner_channels: width inside each of them.
        decoder_channels: width inside each of the decoder's five stages, coarse to fine.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        deep_supervision: whether the six maps that make the output are side outputs.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the widths are not six, six and five.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 512, 512),
        inner_channels: Sequence[int] = (32, 32, 64, 128, 256, 256),
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        for name, given, count in (
            ("channels", channels, 6),
            ("inner_channels", inner_channels, 6),
            ("decoder_channels", decoder_channels, 5),
        ):
            if len(given) != count:
                raise ValueError(f"{name} is {tuple(given)}; expected {count} widths, one per stage.")

        def stage(level: int, before: int, inner: int, after: int) -> Stage:
            block = ResidualUBlock(
                spatial_dims, before, inner, after, LEVELS[level], norm, act, dropout, POOLING[level]
            )
            return Stage([block], [after])

        family = ConvFamily(norm=norm, act=act)
        befores = [in_channels, *channels]
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            downs=[nn.Identity(), *(Pool["max", spatial_dims](2) for _ in channels[1:])],
            stages=[stage(i, *sizes) for i, sizes in enumerate(zip(befores, inner_channels, channels))],
            strides=[1, 2, 2, 2, 2, 2],
            latent_channels=channels[-1],
            min_latent_positions=family.min_latent_positions,
        )
        afters = [channels[max(i - 1, 0)] for i in range(4, -1, -1)]  # coarse to fine
        befores = [channels[5], *afters[:-1]]
        stages = [
            stage(level, before + channels[level], inner, after)
            for level, before, inner, after in zip(range(4, -1, -1), befores, decoder_channels, afters)
        ]
        conv = Conv["conv", spatial_dims]
        heads = [conv(width, out_channels, 3, padding=1) for width in (channels[5], *afters)]
        body = StageDecoder(
            [InterpolateUp(spatial_dims, width, width, [2] * spatial_dims) for width in befores],
            [Cat() for _ in stages],
            stages,
            afters,
            nn.Identity(),
        )
        super().__init__(
            encoder,
            FusedMapsDecoder(body, heads, conv(len(heads) * out_channels, out_channels, 1), deep_supervision),
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


class U2NetSmall(U2Net):
    """U²-Net† (Qin et al. 2020), the small one: every stage has the same widths. Args as :class:`U2Net`."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64,) * 6,
        inner_channels: Sequence[int] = (16,) * 6,
        decoder_channels: Sequence[int] = (16,) * 5,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            channels,
            inner_channels,
            decoder_channels,
            norm,
            act,
            dropout,
            deep_supervision,
            conditioning,
            checkpointing,
        )
