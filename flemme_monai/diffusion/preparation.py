"""Prepare-batch classes: from a batch of images to a training step of a denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor

from .edm import Preconditioning
from .noise import image_generators
from .schedules import DiffusionScheduler, noise_like

Latents = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


def statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, at least 0.01, of each image and channel of (B, C, *S), as (B, C, 1, ...)."""
    axes = list(range(2, images.ndim))
    return images.mean(axes, keepdim=True), images.std(axes, keepdim=True).clamp_min(0.01)


def get_quantiles(images: torch.Tensor, generators: list[torch.Generator] | None) -> torch.Tensor:
    """Uniform numbers (B,) between 0 and 1, one per image of (B, ...) and of its own generator where there are any."""
    if generators is None:
        return torch.rand(images.shape[0], device=images.device)
    return torch.cat([torch.rand(1, generator=generator, device=images.device) for generator in generators])


class DenoisingPrepareBatch(PrepareBatch):
    """Base of all denoisers' batches: a clean image, noise and a condition.

    Args:
        image_key: the images (B, C, *S) to learn.
        condition_key: the context: classes (B,), images or positions; None: not used.
        rescale: images come in 0..1 and go to -1..1, the range of diffusion. Conditions stay as they are: an image
            condition of -1 would be the null one.
        standardise: images and their condition, an image of the same kind, are brought to mean 0 and deviation 1 of the
            condition, so that nothing depends on its brightness and contrast.
        latents: from images and condition to the latents that are learned in their place, as
            :meth:`LatentSpace.encode`.
        seed: for validation, so that losses of epochs compare: noise and noise level of an image depend on the seed and
            the image alone, whatever its batch. None draws both at random.
    """

    def __init__(
        self,
        image_key: str = "image",
        condition_key: str | None = None,
        rescale: bool = False,
        standardise: bool = False,
        latents: Latents | None = None,
        seed: int | None = None,
    ) -> None:
        self.image_key, self.condition_key = image_key, condition_key
        if standardise and (rescale or condition_key is None):
            raise ValueError("standardise needs an image as condition (condition_key) and goes without rescale.")
        self.rescale, self.standardise, self.latents, self.seed = rescale, standardise, latents, seed

    def get_step(
        self, images: torch.Tensor, noise: torch.Tensor, quantiles: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The target (B, C, *S) of the loss, and what the inferer gets beside the noise.

        Args:
            images, noise: (B, C, *S).
            quantiles: where in the distribution of noise levels each sample is, (B,) between 0 and 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what a denoiser learns.")

    def denoised(
        self, images: torch.Tensor, target: torch.Tensor, prediction: torch.Tensor, step: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The images (B, C, *S) that a prediction says are in the noisy ones; the other arguments are those of a
        step, see :meth:`noised`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a denoiser has learned.")

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Make the step of a batch.

        Args:
            batchdata: has ``image_key`` and, when set, ``condition_key``.
            device, non_blocking, kwargs: of ``Tensor.to``, as MONAI's engines give them.

        Returns:
            images (B, C, *S), the loss's target, no positional and all keyword arguments of the inferer.

        Raises:
            ValueError: If a batch lacks one of the keys.
        """

        def get(key: str) -> torch.Tensor:
            if key not in batchdata:
                raise ValueError(f"a batch has no {key!r}, only {', '.join(map(repr, batchdata))}: check the keys.")
            return convert_to_tensor(batchdata[key]).to(device, non_blocking=non_blocking, **kwargs)

        images = get(self.image_key)
        generators = None if self.seed is None else image_generators(images, self.seed)
        condition = None if self.condition_key is None else get(self.condition_key)
        if self.rescale:
            images = images * 2 - 1
        if self.standardise and condition is not None:
            mean, deviation = statistics(condition)
            images, condition = (images - mean) / deviation, (condition - mean) / deviation
        if self.latents is not None:
            with torch.no_grad():
                images = self.latents(images, condition)
        target, step = self.noised(images, generators)
        if condition is not None:
            step["condition"] = condition
        return images, target, (), step

    def noised(
        self, images: torch.Tensor, generators: list[torch.Generator] | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The target (B, C, *S) of the loss, and what the inferer gets, the noise included.

        Args:
            images: images or latents (B, C, *S).
            generators: one per image; None: not used.
        """
        noise = noise_like(images, generators)
        target, step = self.get_step(images, noise, get_quantiles(images, generators))
        return target, {"noise": noise, **step}


class SchedulerPrepareBatch(DenoisingPrepareBatch):
    """Batches for the diffusion of a scheduler, and MONAI's ``DiffusionInferer``.

    Args:
        scheduler: its ``prediction_type`` decides on the target: noise, velocity or image.
        image_key, condition_key, rescale, standardise, latents, seed: as :class:`DenoisingPrepareBatch`.
    """

    def __init__(
        self,
        scheduler: DiffusionScheduler,
        image_key: str = "image",
        condition_key: str | None = None,
        rescale: bool = False,
        standardise: bool = False,
        latents: Latents | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(image_key, condition_key, rescale, standardise, latents, seed)
        self.scheduler = scheduler

    def get_step(
        self, images: torch.Tensor, noise: torch.Tensor, quantiles: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The target, and ``timesteps`` (B,)."""
        T = self.scheduler.num_train_timesteps
        timesteps = (quantiles * T).long().clamp_max(T - 1)
        return self.scheduler.get_target(images, noise, timesteps), {"timesteps": timesteps}

    def denoised(
        self, images: torch.Tensor, target: torch.Tensor, prediction: torch.Tensor, step: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """As :meth:`DenoisingPrepareBatch.denoised`: what the error of a prediction does to the image."""
        a, b = self.scheduler.levels(step["timesteps"], images)
        gain = {"epsilon": -b / a, "v_prediction": -b, "sample": torch.ones_like(a)}[self.scheduler.prediction_type]
        return images + gain * (prediction - target)


class EDMPrepareBatch(DenoisingPrepareBatch):
    """Batches for EDM (Karras et al. 2022) and :class:`EDMInferer`: log-normal sigmas and the loss's weight.

    The squared error of ``scales`` times prediction and target is the error weighted by lambda.

    Args:
        mean: P_mean of ln(sigma).
        std: P_std of ln(sigma).
        sigma_data: standard deviation of the images, as the network has it.
        image_key, condition_key, rescale, standardise, latents, seed: as :class:`DenoisingPrepareBatch`.
    """

    def __init__(
        self,
        mean: float = -1.2,
        std: float = 1.2,
        sigma_data: float = 0.5,
        image_key: str = "image",
        condition_key: str | None = None,
        rescale: bool = False,
        standardise: bool = False,
        latents: Latents | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(image_key, condition_key, rescale, standardise, latents, seed)
        self.mean, self.std = mean, std
        self.preconditioning = Preconditioning(sigma_data)

    def get_step(
        self, images: torch.Tensor, noise: torch.Tensor, quantiles: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted target, ``sigmas`` (B,) and ``scales`` (B, 1, ...)."""
        normal = torch.special.ndtri(quantiles.clamp(1e-6, 1 - 1e-6))
        sigmas = (self.mean + self.std * normal).exp()
        scales = self.preconditioning.weight(sigmas).sqrt().view([-1] + [1] * (images.ndim - 1))
        return scales * images, {"sigmas": sigmas, "scales": scales}

    def denoised(
        self, images: torch.Tensor, target: torch.Tensor, prediction: torch.Tensor, step: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """As :meth:`DenoisingPrepareBatch.denoised`: the prediction without the loss's weight."""
        return prediction / step["scales"]
