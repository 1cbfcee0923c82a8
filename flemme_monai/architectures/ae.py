"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch
from torch import nn

from .residual import Residual


class AE(nn.Module):
    """Auto-encoder, or reconstruction model when the input is a degraded image.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        residual: work on standardised images and add the output to the input, so that the network learns what the
            degradation took away; for reconstruction only, since an auto-encoder would have nothing left to learn.

    Raises:
        ValueError: when ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.residual = Residual(backbone) if residual else None

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to image (B, out_channels, *S)."""
        if self.residual is None:
            return self.backbone(x, timesteps, context).output
        mean, std = self.residual.statistics(x)
        return self.residual(x, [self.backbone((x - mean) / std, timesteps, context).output], std)[0]
