"""Which earlier features a stage sees, resampled to its resolution and concatenated to its input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import InterpolateDown, InterpolateUp


class Resample(nn.Sequential):
    """A feature of another stage brought to this stage's width and resolution: 1x1 convolution, interpolation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the feature.
        out_channels: channels it is given.
        source: total stride of the feature along each axis.
        target: total stride of this stage along each axis.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, source: Sequence[int], target: Sequence[int]
    ) -> None:
        up = [max(s // t, 1) for s, t in zip(source, target)]
        down = [max(t // s, 1) for s, t in zip(source, target)]
        layers: list[nn.Module] = []
        if max(down) > 1:
            layers.append(InterpolateDown(spatial_dims, in_channels, out_channels, down))
        elif max(up) > 1:
            layers.append(InterpolateUp(spatial_dims, in_channels, out_channels, up))
        elif in_channels != out_channels:
            layers.append(Conv["conv", spatial_dims](in_channels, out_channels, 1))
        super().__init__(*layers)


class NoConnection(nn.Module):
    """The stage sees its input alone."""

    def forward(self, x: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
        """``x`` itself."""
        return x


class SkipConnection(nn.Module):
    """The stage also sees one earlier feature of its own resolution (U-Net, Ronneberger et al. 2015).

    Args:
        index: which of the earlier features.
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
        """``x`` (B, C, *s) and the feature (B, C', *s) to (B, C + C', *s)."""
        return torch.cat([x, earlier[self.index]], dim=1)


class DenseConnection(nn.Module):
    """The stage also sees every earlier feature (DenseNet, Huang et al. 2017, between stages).

    Args:
        resamplers: one for each earlier feature that is used, from the first on.
    """

    def __init__(self, resamplers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.resamplers = nn.ModuleList(resamplers)

    def forward(self, x: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
        """``x`` (B, C, *s) and the earlier features, resampled, to (B, C + C' + ..., *s)."""
        features = [x]
        for i, resample in enumerate(self.resamplers):
            features.append(resample(earlier[i]))
        return torch.cat(features, dim=1)
