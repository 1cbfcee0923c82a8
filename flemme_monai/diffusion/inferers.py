"""Inferers of diffusion that MONAI lacks: EDM's training step, sampling, and averages of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor

from ..utils import former_arguments, terminal_bar
from .noise import image_generators, initial_noise, noise_generator
from .preparation import statistics
from .sampling import HeunSampler, SchedulerSampler

Sampler = SchedulerSampler | HeunSampler
EPSILON = 1e-6  # probability that a class keeps in a sample that is not of it
STEPS = 1  # tells the noise of a sample's steps from its initial noise


class EDMInferer(Inferer):
    """A training step of EDM (Karras et al. 2022, equation 2), on batches of :class:`EDMPrepareBatch`."""

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., Any],
        noise: torch.Tensor,
        sigmas: torch.Tensor,
        scales: torch.Tensor,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor | list[torch.Tensor]:
        """``scales * D(inputs + sigma noise; sigma)``.

        Args:
            inputs: images (B, C, *S).
            network: the denoiser D, which gives an image or, when hierarchical, a list of images.
            noise: standard normal, (B, C, *S).
            sigmas: noise levels (B,).
            scales: square roots of the loss's weights, (B, 1, ...).
            condition: the network's context (B, ...); None: not used.
        """
        noisy = inputs + sigmas.view(scales.shape) * noise
        output = network(x=noisy, timesteps=sigmas, context=condition)
        return scales * output if isinstance(output, torch.Tensor) else [scales * level for level in output]


class SamplingInferer(Inferer):
    """Samples from noise.

    The initial noise is the input, as in MONAI's ``DiffusionInferer.sample``, so that each sample has its own seed,
    whatever the batch, and noise can also be interpolated; see :class:`InitialNoise` and :class:`SeedInterpolation`.

    Args:
        sampler: from noise to samples.
        guidance_scale: weight of classifier-free guidance; 1: not used.
        seed: of the noise that steps add, which depends on a sample's initial noise too and on nothing else: a sample
            is the same in any batch.
        progress: show a bar over the steps on a terminal.
        decode: from samples and their condition to images, as :meth:`LatentSpace.decode`; None when they are images.
        keep_steps: predicted images to keep of each call, evenly spaced over its steps.

    Attributes:
        steps: those of the last call, (B, C, *S) on the CPU, the first first.
    """

    @former_arguments(guidance="guidance_scale")
    def __init__(
        self,
        sampler: Sampler,
        guidance_scale: float = 1.0,
        seed: int = 0,
        progress: bool = True,
        decode: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None,
        keep_steps: int = 0,
    ) -> None:
        if not 0 <= keep_steps <= sampler.num_inference_steps:
            raise ValueError(
                f"keep_steps is {keep_steps}; expected at most the sampler's {sampler.num_inference_steps} steps."
            )
        self.sampler, self.guidance_scale = sampler, guidance_scale
        self.seed, self.progress = seed, progress
        self.decode, self.keep_steps = decode, keep_steps
        self.steps: list[torch.Tensor] = []

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Turn noise into images.

        Args:
            inputs: initial noise, standard normal (B, C, *S).
            network: the denoiser, in eval mode.
            condition: the network's context (B, ...); None: not used.

        Returns:
            Images (B, C, *S), or what ``decode`` makes of samples.

        Raises:
            ValueError: If the guidance scale is not 1 and there is no condition.
        """
        noise = convert_to_tensor(inputs)
        generators = image_generators(noise, self.seed)
        decode = self.decode or (lambda samples, condition: samples)
        last = self.sampler.num_inference_steps - 1
        kept = set(torch.linspace(0, last, self.keep_steps + 1)[1:].long().tolist())
        self.steps = []

        def on_step(i: int, denoised: torch.Tensor) -> None:
            if i in kept:
                self.steps.append(decode(denoised, condition).cpu())
            bar.update()

        with terminal_bar(self.sampler.num_inference_steps, "sampling", self.progress) as bar:
            samples = self.sampler(network, noise, condition, self.guidance_scale, generators, on_step)
        return decode(samples, condition)


class AveragedInferer(Inferer):
    """Supervised diffusion: mean and standard deviation of several samples under an image.

    Sample k of every image has the same noise, initially and in its steps, so that an image's result does not depend
    on its neighbours.

    Args:
        sampler: from noise to samples.
        num_samples: samples per image, at least 2, for one has no standard deviation.
        guidance_scale: weight of classifier-free guidance; 1: not used.
        seed: of the initial noise and that of the steps, the same in every call.
        standardise: the network was trained on images that were standardised by their condition, as
            :class:`DenoisingPrepareBatch` does, and not on images in -1..1.
        window: takes windows of images that are larger than the network's, as ``WindowInferer``; None: not used.
        progress: show a bar over the steps on a terminal.

    Raises:
        ValueError: If there are fewer than 2 samples.
    """

    @former_arguments(guidance="guidance_scale")
    def __init__(
        self,
        sampler: Sampler,
        num_samples: int = 8,
        guidance_scale: float = 1.0,
        seed: int = 0,
        standardise: bool = False,
        window: Inferer | None = None,
        progress: bool = True,
    ) -> None:
        if num_samples < 2:
            raise ValueError(
                f"num_samples is {num_samples}; expected 2 or more: the uncertainty is the deviation of an image's "
                "samples."
            )
        self.sampler, self.num_samples, self.guidance_scale = sampler, num_samples, guidance_scale
        self.seed, self.standardise, self.window, self.progress = seed, standardise, window, progress

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Sample under images.

        Args:
            inputs: degraded images (B, C, *S) in 0..1, the network's context.
            network: the denoiser of images (B, C, *S) in -1..1 or standardised, in eval mode.

        Returns:
            (B, 2C, *S): the mean of the samples, not clipped, and their standard deviation, both on the scale of 0..1.
            The deviation is the root of the unbiased variance (n - 1); its own mean is lower than the true deviation by
            the factor c4(n) of normal samples: 0.80 for 2, 0.92 for 4, 0.97 for 8.
        """
        average = partial(self.average, network)
        return average(inputs) if self.window is None else self.window(inputs, average)

    def average(self, network: Callable[..., torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """Mean and standard deviation (B, 2C, *S) of samples under ``images`` (B, C, *S)."""
        images = convert_to_tensor(images)
        offset: float | torch.Tensor = -1.0
        scale: float | torch.Tensor = 2.0  # of the network's images over those in 0..1
        context = images
        if self.standardise:
            mean, deviation = statistics(images)
            offset, scale = -mean / deviation, 1 / deviation
            context = (images - mean) / deviation
        return mean_and_std((self.samples(network, context, images.shape[1]) - offset) / scale)

    def samples(self, network: Callable[..., torch.Tensor], context: torch.Tensor, channels: int) -> torch.Tensor:
        """Samples (num_samples, B, channels, *S) under images (B, C, *S) as the network takes them."""
        shape, samples = (channels, *context.shape[2:]), []
        with terminal_bar(self.num_samples * self.sampler.num_inference_steps, "sampling", self.progress) as bar:
            for k in range(self.num_samples):
                noise = initial_noise(shape, self.seed, k).to(context).expand(len(context), *shape)
                generators = [noise_generator(self.seed, k, STEPS, device=context.device) for _ in context]
                samples.append(
                    self.sampler(
                        network, noise, context, self.guidance_scale, generators, lambda i, denoised: bar.update()
                    )
                )
        return torch.stack(samples)


class AveragedLabelInferer(AveragedInferer):
    """Segmentation by diffusion: mean and standard deviation of the probabilities of several sampled label maps.

    An implicit ensemble (Wolleb et al. 2022): each sample is a label map that the image allows for.

    Args:
        sampler, num_samples, guidance_scale, seed, window, progress: as :class:`AveragedInferer`.
        num_classes: channels of a label map.
        multi_label: classes may overlap, so that their probabilities do not sum to 1.
    """

    def __init__(
        self,
        sampler: Sampler,
        num_classes: int,
        num_samples: int = 8,
        guidance_scale: float = 1.0,
        seed: int = 0,
        multi_label: bool = False,
        window: Inferer | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__(sampler, num_samples, guidance_scale, seed, window=window, progress=progress)
        self.num_classes, self.multi_label = num_classes, multi_label

    def average(self, network: Callable[..., torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """Mean and standard deviation (B, 2 num_classes, *S) of probabilities under ``images`` (B, C, *S)."""
        samples = self.samples(network, convert_to_tensor(images), self.num_classes)
        probabilities = ((samples + 1) / 2).clamp(0, 1)  # (num_samples, B, num_classes, *S)
        if not self.multi_label:
            # where a sample names no class at all, each is as probable
            probabilities = probabilities + EPSILON
            probabilities = probabilities / probabilities.sum(2, keepdim=True)
        return mean_and_std(probabilities)


def mean_and_std(samples: torch.Tensor) -> torch.Tensor:
    """Mean and unbiased standard deviation (B, 2C, *S) of samples (n, B, C, *S)."""
    return torch.cat([samples.mean(0), samples.std(0)], 1)
