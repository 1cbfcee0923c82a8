"""The loss of a variational auto-encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class VAELoss(nn.Module):
    """Reconstruction plus weighted Kullback-Leibler divergence to the standard normal (Kingma and Welling 2014).

    The divergence is summed over the latent and divided by the number of the image's values, as the reconstruction is.

    Args:
        reconstruction: loss of an image (B, C, *S) and its target.
        kl_weight: weight of the divergence; a :class:`flemme_monai.handlers.KLWarmup` may let it grow.

    Attributes:
        recorded: of the last call, the terms of the reconstruction, or itself, and the divergence times its weight.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(
        self, reconstruction: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], kl_weight: float = 1.0
    ) -> None:
        super().__init__()
        if kl_weight < 0:
            raise ValueError(f"kl_weight is {kl_weight}; expected 0 or more.")
        self.reconstruction = reconstruction
        self.kl_weight = kl_weight
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(self, output: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Loss of ``[image, mean, deviation]``, what a VAE gives in training, or ``[image]`` of a plain auto-encoder,
        which has no divergence, and the image (B, C, *S)."""
        image, *moments = output
        restored = self.reconstruction(image, target)
        terms = getattr(self.reconstruction, "recorded", {"reconstruction": restored.detach()})
        if not moments:
            self.recorded = dict(terms)
            return restored
        mean, deviation = moments
        divergence = 0.5 * (mean**2 + deviation**2 - 1 - 2 * deviation.log()).sum() / target.numel()
        weighted = self.kl_weight * divergence
        self.recorded = {**terms, "divergence": weighted.detach()}
        return restored + weighted
