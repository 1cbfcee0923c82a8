"""Generation by diffusion: ``ddpm`` and ``edm``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import Config, Recipe, Workflow, component
from .denoiser import (
    average_settings,
    denoiser_backbone,
    denoiser_training,
    diffusion_inferer,
    load_average,
    noise_by_schedule,
    of_time_and_class,
    sampler_settings,
    sampling_inferer,
    sampling_scheduler,
    schedule_sampler,
    schedule_settings,
    scheduler,
    squared_error,
)
from .generation import (
    FORMAT,
    generation_evaluation,
    generation_evaluation_settings,
    generation_report,
    generation_settings,
    sampling_components,
    sampling_settings,
)
from .handlers import evaluation_handlers
from .inference import evaluation_steps, inference_steps, multi_gpu_training
from .networks import network
from .training import optimization, split_datalist, training_steps
from .transforms import generation_transforms


def ddpm(name: str, row: Encoder | Network) -> Recipe:
    """Denoising diffusion: noise by a schedule of many steps, samples by fewer."""
    backbone = denoiser_backbone(row, "@in_channels", of_time_and_class())
    network_def = network("ddpm", backbone, fusion=None)
    sampling = {
        "sampling": schedule_sampler(),
        "validate#inferer": sampling_inferer(),
        "scheduler": sampling_scheduler(),
    }
    return Recipe(
        title="generation by denoising diffusion",
        workflows={
            "train": Workflow(
                settings={**denoiser_settings(name), **schedule_settings()},
                components={
                    **training_components(network_def, noise_by_schedule("@condition_key"), diffusion_inferer()),
                    "scheduler": scheduler(),
                },
                steps=training_steps(),
            ),
            "evaluate": evaluation({"num_inference_steps": 50, "guidance": 1.0, **sampler_settings()}, sampling),
            "inference": inference(
                name,
                network_def,
                {"num_inference_steps": 50, "guidance": 1.0, **schedule_settings(), **sampler_settings()},
                {key: sampling[key] for key in ("sampling", "scheduler")},
            ),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=FORMAT,
        readme="generation",
        references=("Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020",),
    )


def edm(name: str, row: Encoder | Network) -> Recipe:
    """A preconditioned denoiser of any noise level, sampled by Heun steps."""
    backbone = denoiser_backbone(row, "@in_channels", of_time_and_class())
    network_def = network("edm", backbone, fusion=None, sigma_data="@sigma_data")
    data = {"sigma_data": 0.5}
    steps = {"num_inference_steps": 18, "guidance": 1.0}
    heun = {"sigma_max": 80.0, "churn": 0.0}
    sampling = component(
        "flemme_monai.diffusion.HeunSampler",
        num_inference_steps="@num_inference_steps",
        sigma_max="@sigma_max",
        churn="@churn",
    )
    noise = "flemme_monai.diffusion.SigmaPrepareBatch"
    shared = {"sigma_data": "@sigma_data", "condition_key": "@condition_key"}
    return Recipe(
        title="generation by a preconditioned denoiser",
        workflows={
            "train": Workflow(
                settings={**denoiser_settings(name), **data},
                components=training_components(
                    network_def,
                    (component(noise, **shared), component(noise, **shared, seed="@seed")),
                    component("flemme_monai.diffusion.EDMInferer"),
                ),
                steps=training_steps(),
            ),
            "evaluate": evaluation({**steps, **heun}, {"sampling": sampling, "validate#inferer": sampling_inferer()}),
            "inference": inference(name, network_def, {**steps, **data, **heun}, {"sampling": sampling}),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=FORMAT,
        readme="generation",
        references=("Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022",),
    )


def denoiser_settings(name: str) -> Config:
    """The settings of a denoiser's training."""
    return {**generation_settings(name), "context_drop": 0.1, **average_settings()}


def training_components(network_def: Config, prepare: tuple[Config, Config], inferer: Config) -> Config:
    """``train.json``: noised images; arguments as of :func:`.denoiser.denoiser_training`."""
    return {
        "datalist": split_datalist("generation", "@num_classes"),
        **optimization(network_def, squared_error()),
        **denoiser_training(generation_transforms(train=True), generation_transforms(train=False), prepare, inferer),
    }


def evaluation(settings: Config, sampling: Config) -> Workflow:
    """``evaluate.json``, over ``train.json``: samples beside real images.

    Args:
        settings: of the sampler.
        sampling: the sampler.
    """
    handlers = evaluation_handlers(generation_report(), load=load_average())
    return Workflow(
        settings={**generation_evaluation_settings(), **settings},
        components={**generation_evaluation(handlers), **sampling},
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config, settings: Config, sampling: Config) -> Workflow:
    """``inference.json``: samples, and a film of how they come out of noise; arguments as of :func:`evaluation`."""
    inferer = sampling_inferer(keep_steps="$min(@num_inference_steps, 30)")
    return Workflow(
        settings={**sampling_settings(name), "context_drop": 0.1, **settings},
        components={
            **sampling_components(network_def, inferer, frames="$lambda: @inferer.steps"),
            **sampling,
        },
        steps=inference_steps(),
    )
