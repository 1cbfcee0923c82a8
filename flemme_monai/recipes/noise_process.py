"""Either process of noise, by a schedule or EDM's, as ``noise_process`` says: of ``sdm``, ``dsem`` and ``ldm``."""

from __future__ import annotations

from typing import Any

from .base import Config, component
from .denoiser import sampler_settings, schedule_settings, scheduler

IS_EDM = "flemme_monai.diffusion.is_edm(@noise_process)"
SIGMA_DATA = f"$@sigma_data if {IS_EDM} else None"  # of the network


def process_settings(prediction_type: str = "v_prediction") -> Config:
    """The settings of both processes; what is noised has about unit deviation."""
    return {**schedule_settings(prediction_type), "noise_process": "schedule", "sigma_data": 1.0}


def process_sampler_settings(steps: int = 50) -> Config:
    """The settings of a sampler of either; ``steps`` are those of a schedule."""
    return {
        "num_inference_steps": f"$18 if {IS_EDM} else {steps}",
        **sampler_settings(),
        "sigma_max": 80.0,
        "s_churn": 0.0,
    }


def process_scheduler(sampler: str = "ddpm", **arguments: Any) -> Config:
    """A schedule, as :func:`.denoiser.scheduler`; None of EDM."""
    return scheduler(sampler, **arguments) | {"_disabled_": f"${IS_EDM}"}


def process_sampling_scheduler() -> Config:
    """The sampler's schedule; what is sampled has no bounds."""
    return process_scheduler("@sampler", eta="@eta", clip_sample=False)


def noise_by_process(**arguments: Any) -> tuple[Config, Config]:
    """Noise images, for training and for validation, where a case has the same noise every time; ``arguments`` are
    further ones of :func:`flemme_monai.diffusion.make_prepare_batch`."""
    target = "flemme_monai.diffusion.make_prepare_batch"
    shared = {"scheduler": "@scheduler", "sigma_data": "@sigma_data", **arguments}
    return component(target, **shared), component(target, **shared, seed="@seed")


def process_inferer() -> Config:
    """The inferer of a denoiser in training."""
    return component("flemme_monai.diffusion.make_training_inferer", scheduler="@scheduler")


def process_sampler() -> Config:
    """From noise to samples."""
    return component(
        "flemme_monai.diffusion.make_sampler",
        scheduler="@scheduler",
        num_inference_steps="@num_inference_steps",
        sigma_max="@sigma_max",
        s_churn="@s_churn",
    )


def process_example_sampler() -> Config:
    """The same in few steps, along a schedule of its own, for the examples of a training."""
    return component(
        "flemme_monai.diffusion.make_sampler",
        scheduler=process_scheduler("ddim", clip_sample=False),
        num_inference_steps=f"$12 if {IS_EDM} else min(20, @num_train_timesteps)",
    )
