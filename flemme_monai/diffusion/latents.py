"""The latent space of an autoencoder, where latent diffusion takes place (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from monai.utils import convert_to_tensor
from torch import nn

if TYPE_CHECKING:
    from ..architectures import LDM


class LatentAutoencoder(Protocol):
    """What latent diffusion needs of an autoencoder: what MONAI's ``AutoencoderKL`` has.

    One whose attribute ``is_conditional`` is true takes a context (B, ...) as second argument of each method.
    """

    latent_channels: int

    def encode(self, x: torch.Tensor, *context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, *S) to mean and deviation of their latents (B, L, *s)."""

    def encode_stage_2_inputs(self, x: torch.Tensor, *context: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *S) to latents (B, L, *s), drawn."""

    def decode_stage_2_outputs(self, z: torch.Tensor, *context: torch.Tensor) -> torch.Tensor:
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
        check_latents(autoencoder, denoiser)

    @property
    def scale_factor(self) -> torch.Tensor:
        """The denoiser's."""
        return self.denoiser.scale_factor

    @torch.no_grad()
    def encode(self, images: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Images (B, C, *S) to scaled latents (B, L, *s), drawn from what the autoencoder says of each image.

        Args:
            images: of values in -1..1.
            context: (B, ...), of an autoencoder that takes one; others are not given it. None: not used.
        """
        return self.autoencoder.encode_stage_2_inputs(images, *self._arguments(context)) * self.scale_factor

    @torch.no_grad()
    def encode_mean(self, images: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Images (B, C, *S) to the means of their scaled latents (B, L, *s), for validation: nothing is drawn."""
        mean, _ = self.autoencoder.encode(images, *self._arguments(context))
        return mean * self.scale_factor

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled latents (B, L, *s) to images (B, C, *S)."""
        return self.autoencoder.decode_stage_2_outputs(latents / self.scale_factor, *self._arguments(context))

    @torch.no_grad()
    def fit_scale(self, batches: Iterable[Mapping[str, torch.Tensor]], condition_key: str | None = None) -> None:
        """Set the scale factor to one over the standard deviation of the latents of some images.

        Args:
            batches: each with ``image`` (B, C, *S).
            condition_key: of a batch's context (B, ...), of an autoencoder that takes one; None: not used.

        Raises:
            ValueError: If all latents are equal, or there is no image.
        """
        device = self.scale_factor.device
        latents = []
        for batch in batches:
            context = None if condition_key is None else convert_to_tensor(batch[condition_key]).to(device)
            image = convert_to_tensor(batch["image"]).to(device)
            latents.append(self.autoencoder.encode_stage_2_inputs(image, *self._arguments(context)).flatten())
        deviation = torch.cat(latents).std().item() if latents else 0.0
        if not deviation > 0:
            raise ValueError(
                f"the latents of {len(latents)} batches have a deviation of {deviation}; train the autoencoder."
            )
        self.scale_factor.fill_(1 / deviation)

    def _arguments(self, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """The context as the autoencoder takes it."""
        takes = context is not None and getattr(self.autoencoder, "is_conditional", False)
        return (context,) if takes and context is not None else ()


def check_latents(autoencoder: LatentAutoencoder, denoiser: LDM) -> None:
    """Compare the latents of an autoencoder with what a denoiser takes.

    Raises:
        ValueError: If they are others.
    """
    if getattr(autoencoder, "has_vector_latent", False):
        raise ValueError("latent diffusion needs a spatial latent: leave the autoencoder's latent_size out.")
    made, taken = autoencoder.latent_channels, denoiser.backbone.in_channels
    if made != taken:
        raise ValueError(
            f"the autoencoder's latents have {made} channels and the denoiser takes {taken}: set "
            "latent_channels to one number for both."
        )
