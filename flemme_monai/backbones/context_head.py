"""The second half of networks that gather context at the trunk's last feature and interpolate the logits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from ..blocks import ConditionEmbeddings, ConvBlock, InterpolateUp, Stage
from .backbone import DecoderOutput


def interpolated_without_layers(stride: int) -> str:
    """Why such a network makes no noise, which needs a learned layer at the image's resolution."""
    return f"its logits are interpolated by {stride} without a learned layer; use a network that ends in one."


class LogitsHead(nn.Sequential):
    """Dropout, a 1x1 convolution to the logits, and their linear interpolation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the feature.
        out_channels: channels of the output.
        stride: factor of the interpolation along each axis.
        dropout: probability that a channel is dropped.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__(
            OrderedDict(
                dropout=Dropout["dropout", spatial_dims](dropout),
                conv=Conv["conv", spatial_dims](in_channels, out_channels, 1),
                up=InterpolateUp(spatial_dims, out_channels, out_channels, stride),
            )
        )


class AuxiliaryHead(nn.Sequential):
    """A 3x3 convolution, then logits, of a feature that the trunk makes earlier (PSPNet, Zhao et al. 2017).

    Args:
        spatial_dims, in_channels, out_channels, stride, dropout: as of :class:`LogitsHead`.
        channels: width between.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        out_channels: int,
        stride: Sequence[int],
        norm: str | None,
        act: str | tuple,
        dropout: float,
    ) -> None:
        super().__init__(
            OrderedDict(
                conv=ConvBlock(spatial_dims, in_channels, channels, norm=norm, act=act),
                logits=LogitsHead(spatial_dims, channels, out_channels, stride, dropout),
            )
        )


class ContextDecoder(nn.Module):
    """latent -> context -> output layer; in training an auxiliary head on the last feature that the encoder kept.

    Args:
        context: a stage of context modules that the latent passes.
        channels: channels after it; it is the decoder's one feature.
        output_layer: from that feature to the output (B, out_channels, *S).
        auxiliary: from the kept feature to a side output (B, out_channels, *S); None: not used.
        auxiliary_weight: the weight of its loss where the output's is 1.
    """

    def __init__(
        self,
        context: Stage,
        channels: int,
        output_layer: nn.Module,
        auxiliary: nn.Module | None = None,
        auxiliary_weight: float = 0.4,
    ) -> None:
        super().__init__()
        self.context, self.output_layer, self.auxiliary = context, output_layer, auxiliary
        self.feature_channels = [channels]
        self.side_weights = [] if auxiliary is None else [auxiliary_weight]
        self.num_sides = len(self.side_weights)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) to the output, and where there is an auxiliary head, the last of ``skips`` to a side.

        Args:
            latent: what the encoder made.
            skips: the features that it kept.
            conditions: embedded conditions, for the context.
        """
        x = self.context(latent) if conditions is None else self.context(latent, conditions)
        sides: list[torch.Tensor] = []
        if self.training and self.auxiliary is not None:
            sides.append(self.auxiliary(skips[-1]))
        return DecoderOutput(self.output_layer(x), [x], sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """The context."""
        return [[self.context]]

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return [] if self.auxiliary is None else [self.auxiliary]
