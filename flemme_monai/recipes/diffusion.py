"""Generation by diffusion: ``ddpm`` and ``edm``."""

from __future__ import annotations

from dataclasses import dataclass

from ..registry import Encoder, Network
from .base import Config, Recipe, Workflow, component, renamed
from .conditions import OF_TABLE, STATISTICS
from .denoiser import (
    GUIDANCE,
    average_settings,
    denoiser_backbone,
    denoiser_training,
    denoising_loss,
    diffusion_inferer,
    example_inferer,
    example_sampler,
    load_average,
    noise_by_schedule,
    of_time_and_class,
    sampler_settings,
    sampling_inferer,
    sampling_scheduler,
    schedule_sampler,
    schedule_settings,
    scheduler,
)
from .generation import (
    FORMAT,
    IMAGE_SHAPE,
    generation_evaluation,
    generation_evaluation_settings,
    generation_report,
    generation_settings,
    sampling_components,
    sampling_settings,
)
from .handlers import evaluation_handlers, example_samples
from .inference import evaluation_steps, inference_steps, multi_gpu_training
from .networks import network
from .training import optimization, split_datalist, training_steps
from .transforms import generation_transforms


@dataclass(frozen=True)
class Process:
    """The noise schedule of training and sampling.

    Args:
        settings: those that training and sampling share.
        sampler_settings: those of the sampler alone.
        prepare: noise images, for training and for validation.
        inferer: how the network is called in training.
        examples: samples in few steps.
        training: further components of training.
        sampling: the components of the sampler.
    """

    settings: Config
    sampler_settings: Config
    prepare: tuple[Config, Config]
    inferer: Config
    examples: Config
    training: Config
    sampling: Config


def ddpm(name: str, row: Encoder | Network) -> Recipe:
    """Denoising diffusion: noise by a schedule of many steps, samples by fewer."""
    process = Process(
        settings=schedule_settings(),
        sampler_settings={"num_inference_steps": 50, **GUIDANCE, **sampler_settings()},
        prepare=noise_by_schedule("@condition_key"),
        inferer=diffusion_inferer(),
        examples=example_inferer(example_sampler()),
        training={"scheduler": scheduler()},
        sampling={"sampling": schedule_sampler(), "scheduler": sampling_scheduler()},
    )
    backbone = denoiser_backbone(row, "@in_channels", of_time_and_class())
    return Recipe(
        title="generation by denoising diffusion",
        workflows=workflows(name, network("ddpm", backbone), process),
        format=FORMAT,
        readme="generation",
        references=("Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020",),
    )


def edm(name: str, row: Encoder | Network) -> Recipe:
    """A preconditioned denoiser of any noise level, sampled by Heun steps."""
    process = Process(
        settings={"sigma_data": 0.5},
        sampler_settings={"num_inference_steps": 18, **GUIDANCE, "sigma_max": 80.0, **renamed("s_churn", "churn", 0.0)},
        prepare=noise_of_any_level(),
        inferer=component("flemme_monai.diffusion.EDMInferer"),
        examples=example_inferer(component("flemme_monai.diffusion.HeunSampler", num_inference_steps=12)),
        training={},
        sampling={"sampling": heun_sampler()},
    )
    backbone = denoiser_backbone(row, "@in_channels", of_time_and_class())
    return Recipe(
        title="generation by a preconditioned denoiser",
        workflows=workflows(name, network("edm", backbone, sigma_data="@sigma_data"), process),
        format=FORMAT,
        readme="generation",
        references=("Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022",),
    )


def workflows(name: str, network_def: Config, process: Process) -> dict[str, Workflow]:
    """The configs of a bundle that makes images of noise.

    Args:
        name: the bundle's name.
        network_def: the denoiser.
        process: how images are noised, and made of noise again.
    """
    return {
        "train": training(name, network_def, process),
        "evaluate": evaluation(process),
        "inference": inference(name, network_def, process),
        "multi_gpu_train": multi_gpu_training(),
    }


def denoiser_settings(name: str) -> Config:
    """The settings of a denoiser's training."""
    return {**generation_settings(name), "context_drop": 0.1, **average_settings()}


def training(name: str, network_def: Config, process: Process) -> Workflow:
    """``train.json``: noised images."""
    return Workflow(
        settings={**denoiser_settings(name), **process.settings},
        components={
            "datalist": split_datalist("generation", "@num_classes", **OF_TABLE),
            **optimization(network_def, denoising_loss(), **STATISTICS),
            **denoiser_training(
                generation_transforms(train=True),
                generation_transforms(train=False),
                process.prepare,
                process.inferer,
                example_samples(process.examples, IMAGE_SHAPE),
            ),
            **process.training,
        },
        steps=training_steps(),
    )


def evaluation(process: Process) -> Workflow:
    """``evaluate.json``, over ``train.json``: samples beside real images."""
    handlers = evaluation_handlers(generation_report(), load=load_average())
    return Workflow(
        settings={**generation_evaluation_settings(), **process.sampler_settings},
        components={
            **generation_evaluation(handlers),
            **process.sampling,
            "validate#inferer": sampling_inferer(),
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config, process: Process) -> Workflow:
    """``inference.json``: samples, and a film of how they come out of noise."""
    inferer = sampling_inferer(keep_steps="$min(@num_inference_steps, 30)")
    return Workflow(
        settings={
            **sampling_settings(name),
            "context_drop": 0.1,
            **process.settings,
            **process.sampler_settings,
        },
        components={
            **sampling_components(network_def, inferer, frames="$lambda: @inferer.steps"),
            **process.sampling,
        },
        steps=inference_steps(),
    )


def noise_of_any_level() -> tuple[Config, Config]:
    """Noise images as EDM does, for training and for validation, where a case has the same noise every time."""
    target = "flemme_monai.diffusion.EDMPrepareBatch"
    shared = {"sigma_data": "@sigma_data", "condition_key": "@condition_key"}
    return component(target, **shared), component(target, **shared, seed="@seed")


def heun_sampler() -> Config:
    """EDM's second-order steps."""
    return component(
        "flemme_monai.diffusion.HeunSampler",
        num_inference_steps="@num_inference_steps",
        sigma_max="@sigma_max",
        s_churn="@s_churn",
    )
