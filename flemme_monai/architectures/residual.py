"""How networks that map images to images keep intensities: standardised images, and a shortcut around the backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Standardization(nn.Module):
    """The mean and deviation of each image, which normalisation layers would take from it, kept for the output.

    Args:
        spatial_dims: 2 or 3.
        per_channel: statistics of each channel; else of the whole image, for outputs of other channels than the input.
    """

    def __init__(self, spatial_dims: int, per_channel: bool = True) -> None:
        super().__init__()
        self.axes = list(range(2 if per_channel else 1, 2 + spatial_dims))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The image (B, C, *S) standardised, its mean and its deviation, (B, C, 1, ...) or (B, 1, 1, ...)."""
        mean, std = x.mean(self.axes, keepdim=True), x.std(self.axes, keepdim=True).clamp_min(1e-4)
        return (x - mean) / std, mean, std


class Residual(nn.Module):
    """Add scaled outputs for a standardised image to the image.

    Normalisation layers make a backbone blind to an image's scale, so corrections are learned for images of mean 0 and
    deviation 1 (as the NormUnet of Sriram et al. 2020). Each output has a learned scale that starts small, so that
    training starts near the identity (as in CaiT, Touvron et al. 2021).

    Args:
        backbone: the backbone whose outputs are added.
        num_outputs: outputs that are added to the image, each at its own resolution.

    Raises:
        ValueError: when its input cannot be added to its output.
    """

    def __init__(self, backbone: nn.Module, num_outputs: int = 1) -> None:
        super().__init__()
        if backbone.in_channels != backbone.out_channels:
            raise ValueError(
                f"residual=True adds the input ({backbone.in_channels} channels) to the output "
                f"({backbone.out_channels} channels): make in_channels and out_channels equal, or residual false."
            )
        self.scale = nn.Parameter(torch.full((num_outputs,), 0.1))

    def forward(self, x: torch.Tensor, outputs: list[torch.Tensor], std: torch.Tensor) -> list[torch.Tensor]:
        """The input (B, C, *S), resized to each of the backbone's outputs (B, C, *s), plus that output."""
        images: list[torch.Tensor] = []
        for output, scale in zip(outputs, self.scale):
            base = x if output.shape[2:] == x.shape[2:] else F.interpolate(x, size=output.shape[2:], mode="area")
            images.append(base + std * scale * output)
        return images
