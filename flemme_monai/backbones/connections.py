"""Which earlier features a stage sees, resampled to its resolution and concatenated to its input.

A connection is a small object beside a block family. An encoder-decoder asks it, for each stage, for the module that
joins the stage's input with earlier features, and how many channels that makes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import InterpolateDown, InterpolateUp
from .layout import FeatureSpec


class InputOnly(nn.Module):
    """The stage sees its input alone."""

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """``x`` itself."""
        return x


class ConcatSkip(nn.Module):
    """The stage also sees one earlier feature of its own resolution.

    Args:
        index: which of the earlier features.
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """``x`` (B, C, *s) and the feature (B, C', *s) to (B, C + C', *s)."""
        return torch.cat([x, features[self.index]], dim=1)


class ConcatResampled(nn.Module):
    """The stage also sees earlier features of any resolution, each brought to its width and resolution.

    Args:
        resamplers: one for each earlier feature that is used, from the first on.
    """

    def __init__(self, resamplers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.resamplers = nn.ModuleList(resamplers)

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """``x`` (B, C, *s) and the earlier features, resampled, to (B, C + C' + ..., *s)."""
        inputs = [x]
        for i, resample in enumerate(self.resamplers):
            inputs.append(resample(features[i]))
        return torch.cat(inputs, dim=1)


class Connection(ABC):
    """Which earlier features the stages of an encoder-decoder see.

    Attributes:
        name: what the registry and error messages call it.
        bypasses_latent: whether the decoder sees features of the encoder beside the latent.
    """

    name: ClassVar[str]
    bypasses_latent: ClassVar[bool]

    @abstractmethod
    def encoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec]
    ) -> tuple[nn.Module, int]:
        """What an encoder stage sees.

        Args:
            spatial_dims: 2 or 3.
            own: the stage's input.
            features: every feature that was made before the one that the input comes from.

        Returns:
            a module that concatenates what the connection takes of the features to the stage's input, and the
            channels that this makes.
        """

    @abstractmethod
    def decoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec], level: int
    ) -> tuple[nn.Module, int]:
        """What a decoder stage sees; as :meth:`encoder_fuse`.

        Args:
            spatial_dims: 2 or 3.
            own: the stage's input.
            features: the encoder's features, fine to coarse, the latent, then those of earlier decoder stages.
            level: level of the stage, which is also the index of the encoder's feature of its resolution.
        """


@dataclass(frozen=True)
class NoConnection(Connection):
    """A stage sees its input alone."""

    name = "none"
    bypasses_latent = False

    def encoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec]
    ) -> tuple[nn.Module, int]:
        """The input."""
        return InputOnly(), own.channels

    def decoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec], level: int
    ) -> tuple[nn.Module, int]:
        """The input."""
        return InputOnly(), own.channels


@dataclass(frozen=True)
class SkipConnection(NoConnection):
    """A decoder stage also sees the encoder's feature of its level (U-Net, Ronneberger et al. 2015)."""

    name = "skip"
    bypasses_latent = True

    def decoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec], level: int
    ) -> tuple[nn.Module, int]:
        """The input and the encoder's feature of its level."""
        return ConcatSkip(level), own.channels + features[level].channels


@dataclass(frozen=True)
class DenseConnection(Connection):
    """A stage also sees every earlier feature (DenseNet, Huang et al. 2017, between stages)."""

    name = "dense"
    bypasses_latent = True

    def encoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec]
    ) -> tuple[nn.Module, int]:
        """The input and all earlier features, each at the input's width."""
        if not features:
            return InputOnly(), own.channels
        resamplers = [resample(spatial_dims, feature, own) for feature in features]
        return ConcatResampled(resamplers), own.channels * (1 + len(resamplers))

    def decoder_fuse(
        self, spatial_dims: int, own: FeatureSpec, features: Sequence[FeatureSpec], level: int
    ) -> tuple[nn.Module, int]:
        """As in the encoder."""
        return self.encoder_fuse(spatial_dims, own, features)


def resample(spatial_dims: int, source: FeatureSpec, target: FeatureSpec) -> nn.Module:
    """A module that gives a feature another's width and resolution: a 1x1 convolution and interpolation."""
    up = [max(s // t, 1) for s, t in zip(source.strides, target.strides)]
    down = [max(t // s, 1) for s, t in zip(source.strides, target.strides)]
    if max(down) > 1:
        return InterpolateDown(spatial_dims, source.channels, target.channels, down)
    if max(up) > 1:
        return InterpolateUp(spatial_dims, source.channels, target.channels, up)
    if source.channels != target.channels:
        return Conv["conv", spatial_dims](source.channels, target.channels, 1)
    return nn.Identity()
