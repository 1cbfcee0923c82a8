"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule
from .residual import Residual, Standardization


class AE(ConfiguredModule):
    """Auto-encoder, or reconstruction model when the input is a degraded image.

    The backbone sees standardised images, and each image's mean and deviation are put back, since normalisation layers
    would lose them. A latent carries them in channels of its own after the backbone's, so that it makes an image alone.

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
        self.standardize = Standardization(backbone.spatial_dims, backbone.in_channels == backbone.out_channels)
        self.residual = Residual(backbone) if residual else None

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to image (B, out_channels, *S)."""
        standard, mean, std = self.standardize(x)
        output = self.backbone(standard, timesteps, context).output
        if self.residual is not None:
            return self.residual(x, [output], std)[0]
        return output * std + mean

    def encode(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Image (B, in_channels, *S) to its latent (B, C + 2K, *s): the backbone's, then the means of its K channels
        and the logarithms of their deviations, the same at every position."""
        standard, mean, std = self.standardize(x)
        time, told = self.backbone.conditions(x.shape[0], x.shape[2:], None, context)
        latent = self.backbone.latent_vector(self.backbone.encoder(standard, time, told)[0])
        statistics = torch.cat([mean, std.log()], 1)  # (B, 2K, 1, ...)
        return torch.cat([latent, statistics.expand([-1, -1] + list(latent.shape[2:]))], 1)

    def decode(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Latent (B, C + 2K, *s), as :meth:`encode` makes it, to image (B, out_channels, *S).

        Raises:
            ValueError: for a network that would need more of the image than its latent, or another latent.
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
        channels = self.backbone.latent_channels
        kept = self.backbone.in_channels if self.backbone.in_channels == self.backbone.out_channels else 1
        if z.shape[1] != channels + 2 * kept:
            raise ValueError(
                f"the latent has {z.shape[1]} channels; expected {channels} of the backbone and {2 * kept} with the "
                "image's means and log deviations: take what encode makes."
            )
        size = [n * d for n, d in zip(z.shape[2:], self.backbone.size_divisor)]
        time, told = self.backbone.conditions(z.shape[0], size, None, context)
        axes = list(range(2, z.ndim))
        mean, log_std = z[:, channels:].mean(axes, keepdim=True).chunk(2, 1)
        return self.backbone.decoder(z[:, :channels], [], time, told)[0] * log_std.exp() + mean
