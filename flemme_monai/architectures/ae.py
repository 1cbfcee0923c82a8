"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch
from torch import nn


class AE(nn.Module):
    """Auto-encoder, or reconstruction model when the input is a degraded image.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        residual: add the input to the output, so that the network learns what the degradation took away; for
            reconstruction only, since an auto-encoder would have nothing left to learn.

    Raises:
        ValueError: when ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: nn.Module, residual: bool = False) -> None:
        super().__init__()
        check_residual(backbone, residual)
        self.backbone = backbone
        self.residual = residual

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to image (B, out_channels, *S)."""
        output = self.backbone(x, timesteps, context).output
        return output + x if self.residual else output


def check_residual(backbone: nn.Module, residual: bool) -> None:
    """Refuse a residual model whose input cannot be added to its output."""
    if residual and backbone.in_channels != backbone.out_channels:
        raise ValueError(
            f"residual=True adds the input ({backbone.in_channels} channels) to the output ({backbone.out_channels} "
            "channels): make in_channels and out_channels equal, or residual false."
        )
