"""A shortcut around a backbone that maps images to images."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """Standardise each image, add the scaled output to it, and put intensities back.

    Normalisation layers make a backbone blind to an image's scale, so the correction is learned for images of mean 0
    and deviation 1 (as the NormUnet of Sriram et al. 2020). The scale of the output starts at 0, the network as the
    identity (ReZero, Bachlechner et al. 2021).

    Args:
        backbone: the backbone whose output is added.

    Raises:
        ValueError: when its input cannot be added to its output.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        if backbone.in_channels != backbone.out_channels:
            raise ValueError(
                f"residual=True adds the input ({backbone.in_channels} channels) to the output "
                f"({backbone.out_channels} channels): make in_channels and out_channels equal, or residual false."
            )
        self.axes = list(range(2, 2 + backbone.spatial_dims))
        self.scale = nn.Parameter(torch.zeros(1))

    def statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of each image and channel, (B, C, 1, ...)."""
        return x.mean(self.axes, keepdim=True), x.std(self.axes, keepdim=True).clamp_min(1e-4)

    def forward(self, x: torch.Tensor, output: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """The input and the backbone's output for the standardised input, both (B, C, *S), to the image."""
        return x + std * self.scale * output
