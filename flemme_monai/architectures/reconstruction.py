"""What networks that map images to images share: they keep intensities, which normalisation layers would lose."""

from __future__ import annotations

import torch
from torch import nn

from ..backbones import Backbone
from ..blocks import resized_like
from .pyramid import Predictor


class Standardization(nn.Module):
    """The mean and deviation of each image, taken from it before a network and put back behind it.

    Args:
        backbone: statistics are those of each channel where its input has the channels of its output, else those of
            the whole image.

    Attributes:
        channels: means that an image has.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        per_channel = backbone.in_channels == backbone.out_channels
        self.channels = backbone.in_channels if per_channel else 1
        self.axes = list(range(2 if per_channel else 1, 2 + backbone.spatial_dims))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The image (B, C, *S) standardised, its mean and its deviation, (B, C, 1, ...) or (B, 1, 1, ...)."""
        mean, std = x.mean(self.axes, keepdim=True), x.std(self.axes, keepdim=True).clamp_min(1e-4)
        return (x - mean) / std, mean, std


class GlobalResidual(nn.Module):
    """Adds scaled outputs for a standardised image to the image.

    Normalisation layers make a backbone blind to an image's scale, so corrections are learned for images of mean 0 and
    deviation 1 (as the NormUnet of Sriram et al. 2020). Each output has a learned scale that starts small, so that
    training starts near the identity (as in CaiT, Touvron et al. 2021).

    Args:
        backbone: the backbone whose outputs are added.
        num_outputs: outputs that are added to the image, each at its own resolution.

    Raises:
        ValueError: If its input cannot be added to its output.
    """

    def __init__(self, backbone: Backbone, num_outputs: int) -> None:
        super().__init__()
        if backbone.in_channels != backbone.out_channels:
            raise ValueError(
                f"in_channels is {backbone.in_channels} and out_channels {backbone.out_channels}; expected equal "
                "numbers with residual=True, which adds the input to the output: make them equal, or residual false."
            )
        self.scale = nn.Parameter(torch.full((num_outputs,), 0.1))

    def forward(self, x: torch.Tensor, outputs: list[torch.Tensor], std: torch.Tensor) -> list[torch.Tensor]:
        """The input (B, C, *S), resized to each of the backbone's outputs (B, C, *s), plus that output."""
        images: list[torch.Tensor] = []
        for output, scale in zip(outputs, self.scale):
            images.append(resized_like(x, output) + std * scale * output)
        return images


class Reconstruction(Predictor):
    """A backbone that sees standardised images, and whose outputs get each image's mean and deviation back.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        fusion: as :class:`Predictor`.
        residual: add every output to the input, at its resolution, so that the network learns what a degradation took
            away.

    Raises:
        ValueError: If ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: Backbone, fusion: str | None, residual: bool) -> None:
        super().__init__(backbone, fusion)
        self.standardize = Standardization(backbone)
        self.residual = GlobalResidual(backbone, 1 + self.num_levels) if residual else None

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to image (B, out_channels, *S); in training a hierarchical network gives
        ``[final, level_0, ...]``."""
        standard, mean, std = self.standardize(x)
        outputs = self.predict(standard, timesteps, context)
        if self.residual is not None:
            return self.for_loss(self.residual(x, outputs, std))
        return self.for_loss([output * std + mean for output in outputs])
