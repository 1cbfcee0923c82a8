"""The noise of a diffusion, by a schedule of steps or by EDM's sigmas: what trains and what samples with either."""

from __future__ import annotations

import math

from monai.inferers import DiffusionInferer

from .inferers import EDMInferer, Sampler
from .preparation import DenoisingPrepareBatch, EDMPrepareBatch, Latents, SchedulerPrepareBatch
from .sampling import HeunSampler, SchedulerSampler
from .schedules import DiffusionScheduler

NOISE_PROCESSES = ("schedule", "edm")
UNIT_MEAN = -1.2 + math.log(2)  # P_mean of data of unit deviation, where that of Karras et al. have one of 0.5


def is_edm(noise_process: str) -> bool:
    """Whether noise has EDM's sigmas, and not the steps of a schedule.

    Raises:
        ValueError: If the name is of no process.
    """
    if noise_process not in NOISE_PROCESSES:
        raise ValueError(f"noise_process is {noise_process!r}; expected one of {', '.join(NOISE_PROCESSES)}.")
    return noise_process == "edm"


def make_prepare_batch(
    scheduler: DiffusionScheduler | None = None,
    sigma_data: float = 1.0,
    mean: float | None = None,
    std: float = 1.2,
    image_key: str = "image",
    condition_key: str | None = None,
    rescale: bool = False,
    standardise: bool = False,
    latents: Latents | None = None,
    seed: int | None = None,
) -> DenoisingPrepareBatch:
    """What noises images, by a schedule or as EDM does.

    Args:
        scheduler: the schedule; None: EDM.
        sigma_data: as :class:`EDMPrepareBatch`, of EDM alone.
        mean: P_mean of ln(sigma), of EDM alone; None: that of Karras et al., beside ln(sigma_data).
        std: P_std of ln(sigma), of EDM alone.
        image_key, condition_key, rescale, standardise, latents, seed: as :class:`DenoisingPrepareBatch`.
    """
    if scheduler is not None:
        return SchedulerPrepareBatch(scheduler, image_key, condition_key, rescale, standardise, latents, seed)
    mean = UNIT_MEAN + math.log(sigma_data) if mean is None else mean
    return EDMPrepareBatch(mean, std, sigma_data, image_key, condition_key, rescale, standardise, latents, seed)


def make_training_inferer(scheduler: DiffusionScheduler | None = None) -> DiffusionInferer | EDMInferer:
    """What gives noised images to a denoiser in training; None: as EDM does."""
    return EDMInferer() if scheduler is None else DiffusionInferer(scheduler)


def make_sampler(
    scheduler: DiffusionScheduler | None = None,
    num_inference_steps: int = 18,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Sampler:
    """What makes samples of noise, along a schedule or by EDM's steps.

    Args:
        scheduler: the schedule; None: EDM.
        num_inference_steps: steps.
        sigma_min, sigma_max, rho, s_churn, s_tmin, s_tmax, s_noise: as :class:`HeunSampler`, of EDM alone.
    """
    if scheduler is not None:
        return SchedulerSampler(scheduler, num_inference_steps)
    return HeunSampler(num_inference_steps, sigma_min, sigma_max, rho, s_churn, s_tmin, s_tmax, s_noise)
