"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch
from torch import nn


class AE(nn.Module):
    """Auto-encoder, or reconstruction model when the input is a degraded image.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        residual: add the output to the input, so that the network learns what the degradation took away; for
            reconstruction only, since an auto-encoder would have nothing left to learn.

    Raises:
        ValueError: when ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.to_image = Residual(backbone) if residual else NoResidual()

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to image (B, out_channels, *S)."""
        return self.to_image(x, self.backbone(x, timesteps, context).output)


class Residual(nn.Module):
    """The input plus a scaled output; the scale starts at 0, the network as the identity (ReZero, Bachlechner 2021).

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
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Input and output, both (B, C, *S), to the image."""
        return x + self.scale * output


class NoResidual(nn.Module):
    """The output as it is."""

    def forward(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The output (B, C, *S)."""
        return output
