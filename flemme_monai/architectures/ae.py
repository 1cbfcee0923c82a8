"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule
from .residual import Residual


class AE(ConfiguredModule):
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

    def encode(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Image (B, in_channels, *S) to its latent (B, C, *s)."""
        if self.residual is not None:
            mean, std = self.residual.statistics(x)
            x = (x - mean) / std
        time, told = self.backbone.conditions(x.shape[0], x.shape[2:], None, context)
        return self.backbone.latent_vector(self.backbone.encoder(x, time, told)[0])

    def decode(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Latent (B, C, *s) to image (B, out_channels, *S).

        Raises:
            ValueError: for a network that would need more of the image than its latent.
        """
        if self.residual is not None:
            raise ValueError(
                "residual=True adds the input to the output, so no image comes from a latent alone: take an "
                "auto-encoder, which was trained with degradation 'none'."
            )
        if self.backbone.connection != "none":
            raise ValueError(
                f"{self.backbone.connection} connections show the decoder the image past the latent, so no image comes "
                "from a latent alone: use a plain encoder: CNN, ViT, Swin or VMamba."
            )
        size = [n * d for n, d in zip(z.shape[2:], self.backbone.size_divisor)]
        time, told = self.backbone.conditions(z.shape[0], size, None, context)
        return self.backbone.decoder(z, [], time, told)[0]
