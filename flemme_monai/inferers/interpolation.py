"""Interpolation between two images in the latent space of an autoencoder."""

from __future__ import annotations

import torch
from monai.inferers import Inferer

from .autoencoder import Autoencoder


class InterpolationInferer(Inferer):
    """Encodes two images, interpolates their latents linearly, and decodes the result.

    Args:
        autoencoder: has ``encode`` and ``decode``; None takes the evaluator's network.
    """

    def __init__(self, autoencoder: Autoencoder | None = None) -> None:
        self.autoencoder = autoencoder

    def __call__(  # type: ignore[override]  # names the arguments that MONAI's passes on by *args and **kwargs
        self,
        inputs: torch.Tensor,
        network: Autoencoder,
        other: torch.Tensor,
        weight: torch.Tensor,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Interpolated images (B, C, *S).

        Args:
            inputs: first images (B, C, *S).
            network: the evaluator's.
            other: last images (B, C, *S); or the last three of four corners (B, 3, C, *S).
            weight: interpolation weights (B,), 0 at ``inputs`` and 1 at ``other``; or of all four corners (B, 4).
            condition: the autoencoder's context; None: not used.
        """
        autoencoder = network if self.autoencoder is None else self.autoencoder
        if weight.ndim == 2:
            ends = [latents_of(autoencoder, images, condition) for images in (inputs, *other.unbind(1))]
            shares = weight.to(ends[0]).unbind(1)
            latents = torch.stack([end * w.view([-1] + [1] * (end.ndim - 1)) for end, w in zip(ends, shares)]).sum(0)
            return autoencoder.decode(latents, condition)
        first, last = (latents_of(autoencoder, images, condition) for images in (inputs, other))
        latents = torch.lerp(first, last, weight.to(first).view([-1] + [1] * (first.ndim - 1)))
        return autoencoder.decode(latents, condition)


def latents_of(autoencoder: Autoencoder, images: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    """Latents (B, ...) of images (B, C, *S); of a variational auto-encoder their means."""
    latents = autoencoder.encode(images, context)
    return latents[0] if isinstance(latents, tuple) else latents
