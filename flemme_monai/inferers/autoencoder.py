"""What inferers and pictures of latents need of an autoencoder."""

from __future__ import annotations

from typing import Protocol

import torch


class Autoencoder(Protocol):
    """Makes latents of images and images of latents, as ``AE`` and ``VAE`` do."""

    def encode(
        self, x: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, *S) to latents (B, ...), or to their means and deviations."""

    def decode(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, ...) to images (B, C, *S)."""
