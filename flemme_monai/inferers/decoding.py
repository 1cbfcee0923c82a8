"""Decoding of latents that are drawn from the prior."""

from __future__ import annotations

import torch
from monai.inferers import Inferer

from .autoencoder import Autoencoder


class DecodingInferer(Inferer):
    """Decodes latents by a variational auto-encoder, without encoding."""

    def __call__(  # type: ignore[override]  # names the arguments that MONAI's passes on by *args and **kwargs
        self, inputs: torch.Tensor, network: Autoencoder, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Latents to images (B, C, *S).

        Args:
            inputs: latents, (B, latent_channels, *s) or (B, latent_size).
            network: has MONAI's ``decode``.
            condition: the network's context; None: not used.
        """
        return network.decode(inputs) if condition is None else network.decode(inputs, condition)
