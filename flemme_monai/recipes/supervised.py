"""Reconstruction by diffusion under the degraded image: ``sdm``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import Config, Format, Recipe, Workflow, component, compose
from .denoiser import (
    IMAGE_CONTEXT,
    average_settings,
    denoiser_backbone,
    denoiser_training,
    denoising_loss,
    load_average,
    under_image,
)
from .handlers import evaluation_handlers, example_restorations, inference_handlers, save_case_metrics, save_predictions
from .inference import (
    evaluation_components,
    evaluation_settings,
    evaluation_steps,
    inference_components,
    inference_list,
    inference_settings,
    inference_steps,
    multi_gpu_training,
)
from .metrics import mean_absolute_error, psnr, reconstruction_metrics
from .networks import network
from .noise_process import (
    SIGMA_DATA,
    noise_by_process,
    process_example_sampler,
    process_inferer,
    process_sampler,
    process_sampler_settings,
    process_sampling_scheduler,
    process_scheduler,
    process_settings,
)
from .reconstruction import OUTPUTS, PAIRS, reconstruction_settings
from .training import optimization, split_datalist, training_steps, window_inferer
from .transforms import (
    BOTH,
    GIVEN,
    degrade,
    invert,
    pad_to_size,
    reconstruction_images,
    reconstruction_transforms,
    with_meta,
)

DEGRADATION = "equispaced"
SAMPLES = {"num_samples": 4}
PREDICTION = "sample"


def sdm(name: str, row: Encoder | Network) -> Recipe:
    """Reconstruction by diffusion under the degraded image: mean and standard deviation of several samples."""
    network_def = network("sdm", denoiser_backbone(row, "@out_channels", under_image()), sigma_data=SIGMA_DATA)
    return Recipe(
        title="reconstruction by supervised diffusion",
        workflows={
            "train": training(name, network_def),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=Format("image", "magnitude", ("image",), (-1, 1), (), patches=True),
        readme="supervised",
        references=("Saharia et al., Image Super-Resolution via Iterative Refinement, TPAMI 2023",),
    )


def training(name: str, network_def: Config) -> Workflow:
    """``train.json``: crops of images, noised, under the degraded ones."""
    cropped = compose(
        *reconstruction_images(targets=True),
        *degrade(seed="@seed"),
        pad_to_size(),
        component("monai.transforms.CenterSpatialCropd", keys=BOTH, roi_size="@image_size"),
    )
    return Workflow(
        settings={
            **reconstruction_settings(name, DEGRADATION),
            **IMAGE_CONTEXT,
            **average_settings(),
            **process_settings(PREDICTION),
        },
        components={
            "datalist": split_datalist("reconstruction", "@out_channels", pairs=f"${GIVEN}"),
            **optimization(network_def, denoising_loss()),
            **denoiser_training(
                reconstruction_transforms(train=True),
                cropped,
                noise_by_process(condition_key="image", image_key="label", standardise=True),
                process_inferer(),
                example_restorations(
                    component(
                        "flemme_monai.diffusion.AveragedInferer",
                        sampler=process_example_sampler(),
                        num_samples=2,
                        seed="@seed",
                        standardise=True,
                        progress=False,
                    )
                ),
            ),
            "scheduler": process_scheduler(),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train.json``: the mean of several samples of each test case."""
    return Workflow(
        settings={
            **evaluation_settings(),
            **process_sampler_settings(),
            **SAMPLES,
            "overlap": 0.25,
        },
        components={
            **evaluation_components(evaluation_handlers(save_case_metrics(), load=load_average())),
            "sampling": process_sampler(),
            "validate#inferer": averaged_inferer(),
            "scheduler": process_sampling_scheduler(),
            "validate#preprocessing": reconstruction_transforms(train=False),
            "validate#dataloader#batch_size": 1,
            "validate#evaluator#prepare_batch": "$monai.engines.default_prepare_batch",
            "validate#postprocessing": compose(split_mean_std(), with_meta(["pred", "label"])),
            "validate#key_metric": {"psnr": psnr(1.0)},
            "validate#additional_metrics": {**reconstruction_metrics(), "mae": mean_absolute_error()},
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: the images of a folder, restored, and how uncertain each pixel is."""
    both = ["pred", "std"]
    uncertainty = save_predictions("uncertainty", "uncertainty", key="std")
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS),
            "degradation": DEGRADATION,
            "upscale": PAIRS["upscale"],
            **IMAGE_CONTEXT,
            **process_settings(PREDICTION),
            **process_sampler_settings(),
            **SAMPLES,
        },
        components={
            **inference_components(
                datalist=inference_list("reconstruction", "@out_channels", pairs=f"${GIVEN}"),
                network_def=network_def,
                preprocessing=compose(*reconstruction_images()),
                postprocessing=compose(split_mean_std(), with_meta(both), invert(both)),
                handlers=inference_handlers(save_predictions("reconstruction", "recon"), uncertainty),
                inferer=averaged_inferer(),
            ),
            "sampling": process_sampler(),
            "scheduler": process_sampling_scheduler(),
        },
        steps=inference_steps(),
    )


def averaged_inferer() -> Config:
    """Several samples of each window."""
    return component(
        "flemme_monai.diffusion.AveragedInferer",
        sampler="@sampling",
        num_samples="@num_samples",
        seed="@seed",
        window=window_inferer("@overlap"),
        standardise=True,
    )


def split_mean_std() -> Config:
    """Mean and standard deviation under keys of their own."""
    return component("flemme_monai.transforms.SplitMeanStdd", keys="pred")
