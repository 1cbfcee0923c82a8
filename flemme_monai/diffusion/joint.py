"""Latent diffusion that is trained together with its autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import nn

from ..utils import unwrap_model
from .latents import check_latents
from .noise import image_generators
from .preparation import DenoisingPrepareBatch

MOMENTUM = 0.1  # of the variance of latents, as that of batch norm
SMALLEST_VARIANCE = 1e-12
LARGEST = 5.0  # latents of unit deviation


class JointInferer(Inferer):
    """A step of a latent diffusion model that has its autoencoder inside: both halves on a batch of images.

    The denoiser sees the latents without their gradient, so that the denoising loss moves the denoiser alone: through
    the encoder it is lowered most easily by latents that say little of an image (Leng et al. 2025, REPA-E), which
    neither half's own purpose is. The scale factor follows the variance of the latents of training as a moving average.

    Args:
        prepare: noises latents, see :func:`make_prepare_batch`; its ``seed`` is that of validation.
        inferer: gives noised latents to the denoiser, see :func:`make_training_inferer`.
    """

    def __init__(self, prepare: DenoisingPrepareBatch, inferer: Inferer) -> None:
        self.prepare, self.inferer = prepare, inferer

    def __call__(  # type: ignore[override]  # names the arguments that MONAI's passes on by *args and **kwargs
        self, inputs: torch.Tensor, network: nn.Module, condition: torch.Tensor | None = None
    ) -> list[Any] | torch.Tensor:
        """Encode, decode, noise and denoise.

        Args:
            inputs: images (B, C, *S).
            network: an ``LDM`` with an autoencoder, wrapped or not.
            condition: the context (B, ...) of the denoiser, and of an autoencoder that takes one; None: not used.

        Returns:
            In training the restored images, what the autoencoder's loss takes, the target of the denoiser, and its
            prediction. In evaluation the images (B, C, *S) that are decoded of the denoised latents, whose error is
            that of both halves in one unit: the denoiser's own grows with what latents say.

        Raises:
            ValueError: If the network has no autoencoder, or one of other latents.
        """
        model: Any = unwrap_model(network)
        autoencoder = getattr(model, "autoencoder", None)
        if autoencoder is None:
            raise ValueError("the network has no autoencoder; expected one inside of it: set network_def#autoencoder.")
        check_latents(autoencoder, model)
        images = convert_to_tensor(inputs)
        context = condition if autoencoder.is_conditional else None
        mean, deviation = autoencoder.encode(images, context)
        latents = autoencoder.sampling(mean, deviation) if model.training else mean
        if model.training:
            follow_scale(model.scale_factor, latents.detach())
        scaled = latents.detach() * model.scale_factor
        seed = self.prepare.seed
        target, step = self.prepare.noised(scaled, None if seed is None else image_generators(images, seed))
        arguments = step if condition is None else {**step, "condition": condition}
        prediction = self.inferer(scaled, network, **arguments)
        if not model.training:
            denoised = self.prepare.denoised(scaled, target, prediction, step).clamp(-LARGEST, LARGEST)
            return autoencoder.decode(denoised / model.scale_factor, context)
        restored = autoencoder.decode(latents, context)
        reconstruction = [restored, mean, deviation] if autoencoder.variational else [restored]
        return [restored, reconstruction, target, prediction]


@torch.no_grad()
def follow_scale(factor: torch.Tensor, latents: torch.Tensor) -> None:
    """Move a scale factor, in place, towards one over the standard deviation of latents (B, L, *s); 0 is reached at
    once."""
    variance = latents.float().var().clamp_min(SMALLEST_VARIANCE)
    before = torch.where(factor > 0, factor**-2, variance)
    factor.copy_(torch.lerp(before, variance, MOMENTUM).rsqrt())
