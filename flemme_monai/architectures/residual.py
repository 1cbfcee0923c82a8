"""A shortcut around a backbone that maps images to images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """Standardise each image, add scaled outputs to it, and put intensities back.

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
        self.axes = list(range(2, 2 + backbone.spatial_dims))
        self.scale = nn.Parameter(torch.full((num_outputs,), 0.1))

    def statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of each image and channel, (B, C, 1, ...)."""
        return x.mean(self.axes, keepdim=True), x.std(self.axes, keepdim=True).clamp_min(1e-4)

    def forward(self, x: torch.Tensor, outputs: list[torch.Tensor], std: torch.Tensor) -> list[torch.Tensor]:
        """The input (B, C, *S), resized to each of the backbone's outputs (B, C, *s), plus that output."""
        images: list[torch.Tensor] = []
        for output, scale in zip(outputs, self.scale):
            base = x if output.shape[2:] == x.shape[2:] else F.interpolate(x, size=output.shape[2:], mode="area")
            images.append(base + std * scale * output)
        return images
