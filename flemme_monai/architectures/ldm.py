"""LDM: generation by diffusion in the latents of an autoencoder."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..backbones import Backbone
from .denoiser import Denoiser
from .vae import VAE


class LDM(Denoiser):
    """Latent diffusion model (Rombach et al. 2022): denoises the latents of an autoencoder.

    Args:
        backbone: its ``in_channels`` and ``out_channels`` are the channels of the latents.
        fusion, sigma_data: as :class:`Denoiser`.
        autoencoder: one that is trained together with the denoiser and is a part of it; None: another network, which
            was trained before.

    Attributes:
        scale_factor: latents times this have unit deviation; computed from data and saved with the weights; 0 before.
    """

    data_statistics: ClassVar[tuple[str, ...]] = ("scale_factor",)

    def __init__(
        self,
        backbone: Backbone,
        fusion: str | None = None,
        sigma_data: float | None = None,
        autoencoder: VAE | None = None,
    ) -> None:
        super().__init__(backbone, fusion, sigma_data)
        self.scale_factor: torch.Tensor
        self.register_buffer("scale_factor", torch.zeros(()))
        self.autoencoder = autoencoder
