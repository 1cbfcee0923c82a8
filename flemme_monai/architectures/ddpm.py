"""DDPM: generation by denoising diffusion; and the same under an image (SDM), in a latent space (LDM)."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..backbones import Backbone
from .denoiser import Denoiser


class DDPM(Denoiser):
    """Denoising diffusion probabilistic model (Ho et al. 2020): predicts noise, velocity or image from a noisy image.

    What it predicts is what it is trained on; sampling by DDPM, DDIM or PNDM is the scheduler's.

    Args:
        backbone, fusion: as :class:`Denoiser`.
    """

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Noisy image (B, C, *S) and time steps (B) to the prediction (B, C, *S); in training a hierarchical denoiser
        gives ``[final, level_0, ...]``.

        In evaluation an image alone is taken at time step 0, under no context, for tools that check shapes.
        """
        timesteps, context = self.given(x, timesteps, context)
        return self.for_loss(self.predict(x, timesteps, context))


class SDM(DDPM):
    """Supervised diffusion model: generates the full image under a degraded one (Saharia et al. 2022).

    Args:
        backbone: takes an image as context.
        fusion: as :class:`Denoiser`.

    Raises:
        ValueError: If the backbone takes none.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        super().__init__(backbone, fusion)
        if backbone.conditioning is None or backbone.conditioning.context != "image":
            raise ValueError("SDM needs a backbone under an image: set conditioning#context to 'image'.")


class LDM(DDPM):
    """Latent diffusion model (Rombach et al. 2022): denoises the latents of a frozen autoencoder.

    Args:
        backbone: its ``in_channels`` and ``out_channels`` are the channels of the latents.
        fusion: as :class:`Denoiser`.

    Attributes:
        scale_factor: latents times this have unit deviation; computed from data and saved with the weights; 0 before.
    """

    data_statistics: ClassVar[tuple[str, ...]] = ("scale_factor",)

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        super().__init__(backbone, fusion)
        self.scale_factor: torch.Tensor
        self.register_buffer("scale_factor", torch.zeros(()))
