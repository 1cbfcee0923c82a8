"""The latent space of a frozen autoencoder, where latent diffusion takes place (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from monai.utils import convert_to_tensor
from torch import nn

if TYPE_CHECKING:
    from ..architectures import LDM


class LatentAutoencoder(Protocol):
    """What latent diffusion needs of an autoencoder: what MONAI's ``AutoencoderKL`` has."""

    latent_channels: int

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, *S) to mean and deviation of their latents (B, L, *s)."""

    def encode_stage_2_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *S) to latents (B, L, *s), drawn."""

    def decode_stage_2_outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Latents (B, L, *s) to images (B, C, *S)."""

    def eval(self) -> nn.Module:
        """Put it into eval mode."""

    def requires_grad_(self, requires_grad: bool = True) -> nn.Module:
        """Let it learn or not."""


class LatentSpace:
    """Images to latents of unit deviation, and back, by an autoencoder that learns no more.

    Args:
        autoencoder: is put into eval mode.
        denoiser: works on the latents; its buffer ``scale_factor``, what they are multiplied by, is saved with its
            weights. 0 means that it was not computed yet.

    Raises:
        ValueError: If the autoencoder's latents are not what the denoiser takes.
    """

    def __init__(self, autoencoder: LatentAutoencoder, denoiser: LDM) -> None:
        autoencoder.eval()
        autoencoder.requires_grad_(False)
        self.autoencoder, self.denoiser = autoencoder, denoiser
        if getattr(autoencoder, "has_vector_latent", False):
            raise ValueError("latent diffusion needs a spatial latent: leave the autoencoder's latent_size out.")
        made, taken = autoencoder.latent_channels, denoiser.backbone.in_channels
        if made != taken:
            raise ValueError(
                f"the autoencoder's latents have {made} channels and the denoiser takes {taken}: set "
                "latent_channels to one number for both."
            )

    @property
    def scale_factor(self) -> torch.Tensor:
        """The denoiser's."""
        return self.denoiser.scale_factor

    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *S) to scaled latents (B, L, *s), drawn from what the autoencoder says of each image."""
        return self.autoencoder.encode_stage_2_inputs(images) * self.scale_factor

    @torch.no_grad()
    def encode_mean(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *S) to the means of their scaled latents (B, L, *s), for validation: nothing is drawn."""
        mean, _ = self.autoencoder.encode(images)
        return mean * self.scale_factor

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents (B, L, *s) to images (B, C, *S)."""
        return self.autoencoder.decode_stage_2_outputs(latents / self.scale_factor)

    @torch.no_grad()
    def fit_scale(self, batches: Iterable[Mapping[str, torch.Tensor]]) -> None:
        """Set the scale factor to one over the standard deviation of the latents of some images.

        Args:
            batches: each with ``image`` (B, C, *S).

        Raises:
            ValueError: If all latents are equal, or there is no image.
        """
        device = self.scale_factor.device
        images = (convert_to_tensor(batch["image"]).to(device) for batch in batches)
        latents = [self.autoencoder.encode_stage_2_inputs(image).flatten() for image in images]
        deviation = torch.cat(latents).std().item() if latents else 0.0
        if not deviation > 0:
            raise ValueError(
                f"the latents of {len(latents)} batches have a deviation of {deviation}; train the autoencoder."
            )
        self.scale_factor.fill_(1 / deviation)
