"""VAE: variational auto-encoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ..backbones import Backbone
from ..blocks import area_resize, linear_resize
from .architecture import Architecture

GRID = 4


class VAE(Architecture):
    """Variational auto-encoder (Kingma and Welling 2014), with the interface of MONAI's autoencoders.

    Args:
        backbone: a plain backbone whose ``out_channels`` is the number of the image's channels.
        latent_channels: channels of a spatial latent.
        latent_size: length of a latent vector instead; None keeps the latent spatial.
        image_size: size of the images that a latent vector is decoded to; only with ``latent_size``, since a spatial
            latent knows it.
        variational: false makes a plain auto-encoder of it, whose latents have no deviation, for latent diffusion.

    Raises:
        ValueError: If the backbone's connections bypass the latent, or a size does not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        latent_channels: int = 4,
        latent_size: int | None = None,
        image_size: Sequence[int] | None = None,
        variational: bool = True,
    ) -> None:
        backbone.require("decode", "VAE")
        backbone.require_no_sides("VAE")
        if backbone.bottleneck is not None:
            raise ValueError("the backbone's latent_size would come before the VAE's latent; give it to the VAE alone.")
        conditioning = backbone.conditioning
        if conditioning is not None and conditioning.timesteps:
            raise ValueError(
                "the backbone takes time steps; expected none in a VAE: set conditioning#timesteps to false."
            )
        if (latent_size is None) != (image_size is None):
            raise ValueError("latent_size and image_size go together: a vector does not know an image's size.")
        super().__init__(backbone)
        self.backbone: Backbone
        self.spatial_dims = dims = backbone.spatial_dims
        self.latent_channels = latent_channels
        width, conv = backbone.latent_channels, Conv["conv", dims]
        self.has_vector_latent = latent_size is not None
        self.variational = variational
        self.is_conditional = conditioning is not None
        moments = 2 if variational else 1
        self.bottleneck_size = [1] * dims  # of the decoder's input, where the latent is a vector
        self.grid = [GRID] * dims
        if latent_size is None or image_size is None:
            self.to_moments: nn.Module = conv(width, moments * latent_channels, 1)
            self.from_latent: nn.Module = conv(latent_channels, width, 1)
            return
        wrong = [n for n, d in zip(image_size, backbone.size_divisor) if n % d]
        if len(image_size) != dims or wrong:
            raise ValueError(
                f"image_size is {list(image_size)}; expected {dims} multiples of the total stride "
                f"{list(backbone.size_divisor)}."
            )
        self.bottleneck_size = [n // d for n, d in zip(image_size, backbone.size_divisor)]
        self.to_moments = nn.Linear(width * GRID**dims, moments * latent_size)
        self.from_latent = nn.Linear(latent_size, width * GRID**dims)

    @torch.jit.export
    def encode(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (B, C, *S) to mean and deviation of its latent, (B, latent_channels, *s) or (B, latent_size) each."""
        conditions = self.backbone.embed(x.shape[0], list(x.shape[2:]), None, context)
        feature, _ = self.backbone.encode(x, conditions)
        if self.has_vector_latent:
            feature = area_resize(feature, self.grid).flatten(1)
        moments = self.to_moments(feature)
        if not self.variational:
            return moments, torch.zeros_like(moments)
        mean, log_variance = moments.chunk(2, 1)
        return mean, torch.exp(0.5 * log_variance.clamp(-30, 20))

    @torch.jit.export
    def sampling(self, z_mu: torch.Tensor, z_sigma: torch.Tensor) -> torch.Tensor:
        """A latent drawn by the reparameterisation ``z_mu + z_sigma e``, with e standard normal."""
        return torch.addcmul(z_mu, z_sigma, torch.randn_like(z_sigma))

    @torch.jit.export
    def decode(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Latent (B, latent_channels, *s) or (B, latent_size) to image (B, C, *S)."""
        feature = self.from_latent(z)
        if self.has_vector_latent:
            feature = feature.view([z.shape[0], -1] + self.grid)
            feature = linear_resize(feature, self.bottleneck_size)
        size = [n * d for n, d in zip(feature.shape[2:], self.backbone.size_divisor)]
        conditions = self.backbone.embed(z.shape[0], size, None, context)
        skips: list[torch.Tensor] = []
        return self.backbone.decode(feature, skips, conditions).output

    def reconstruct(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Image (B, C, *S) through the mean of its latent to an image."""
        return self.decode(self.encode(x, context)[0], context)

    def encode_stage_2_inputs(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Image (B, C, *S) to a latent for a diffusion model."""
        return self.sampling(*self.encode(x, context))

    def decode_stage_2_outputs(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """A diffusion model's latent to image (B, C, *S)."""
        return self.decode(z, context)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, C, *S) to ``[image, mean, deviation]`` in training, to the image of the mean in evaluation; a plain
        auto-encoder to ``[image]`` and the image."""
        if timesteps is not None:
            raise ValueError("timesteps given, but a VAE takes none.")
        mean, deviation = self.encode(x, context)
        if self.training and not torch.jit.is_scripting():
            if not self.variational:
                return [self.decode(mean, context)]
            return [self.decode(self.sampling(mean, deviation), context), mean, deviation]
        return self.decode(mean, context)
