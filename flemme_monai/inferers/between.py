"""Images between two images, by way of an autoencoder's latents."""

from __future__ import annotations

import torch
from monai.inferers import Inferer
from torch import nn


class BetweenInferer(Inferer):
    """Encodes two images, goes straight from one latent to the other, and decodes what is there.

    Args:
        autoencoder: has ``encode`` and ``decode``; None takes the network that the evaluator gives.
    """

    def __init__(self, autoencoder: nn.Module | None = None) -> None:
        self.autoencoder = autoencoder

    def __call__(
        self,
        inputs: torch.Tensor,
        network: nn.Module,
        other: torch.Tensor,
        weight: torch.Tensor,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Images (B, C, *S) at a share of the way.

        Args:
            inputs: where the ways begin, (B, C, *S).
            network: the evaluator's.
            other: where they end, (B, C, *S).
            weight: shares (B,), 0 at ``inputs`` and 1 at ``other``.
            condition: the autoencoder's context, or None.
        """
        autoencoder = network if self.autoencoder is None else self.autoencoder
        first, last = (latents_of(autoencoder, images, condition) for images in (inputs, other))
        latents = torch.lerp(first, last, weight.to(first).view([-1] + [1] * (first.ndim - 1)))
        return autoencoder.decode(latents, condition)


def latents_of(autoencoder: nn.Module, images: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    """Latents (B, ...) of images (B, C, *S); of a variational auto-encoder their means."""
    latents = autoencoder.encode(images, context)
    return latents[0] if isinstance(latents, tuple) else latents
