"""Common parts of all denoisers: the network, the average of its weights, schedules and samplers."""

from __future__ import annotations

from typing import Any

from ..registry import Encoder, Network
from .base import Config, component, compose, renamed
from .conditions import context_of_table, size_of_context
from .handlers import load_weights, trainer_handlers
from .metrics import FROM_BATCH, FROM_TRAINING, image_loss, pyramid
from .networks import smooth_backbone
from .training import training_part, validation_part

PIXELS = {"channels": [32, 64, 96]}
COARSEST_ATTENDS = {"self_attention": [False, False, False, True]}
AVERAGE = "$@ema.ema_model"
IMAGE_CONTEXT: Config = {"condition_encoder": None}  # of what embeds an image
GUIDANCE = renamed("guidance_scale", "guidance", 1.0)


def denoiser_backbone(row: Encoder | Network, channels: str, conditioning: Config) -> Config:
    """The backbone of a denoiser of images; ``channels`` are those of the images."""
    return smooth_backbone(row, channels, channels, PIXELS, COARSEST_ATTENDS, conditioning=conditioning)


def conditioned(context: str, context_size: str, **settings: Any) -> Config:
    """The conditions of a denoiser: the time step, and a context; arguments as those of ``ConditioningConfig``."""
    return component(
        "flemme_monai.backbones.ConditioningConfig",
        timesteps=True,
        context=context,
        context_size=context_size,
        **settings,
    )


def of_time_and_class() -> Config:
    """A denoiser under the time step, and a class or numbers of a table, which are dropped now and then."""
    conditioning = conditioned(context_of_table("'class' if @num_classes else None"), size_of_context("@num_classes"))
    return {**conditioning, "drop": "$@context_drop if @network_def#backbone#conditioning#context else 0.0"}


def under_image() -> Config:
    """A denoiser under the time step and an image, which an encoder of the registry embeds or patches alone."""
    encoder = "$flemme_monai.registry.encoder_path(@condition_encoder) if @condition_encoder else None"
    return conditioned("image", "@in_channels", channels=64, combine="cat", side="encoder", image_encoder=encoder)


def denoising_loss() -> Config:
    """The loss of a denoiser, by default the squared error, of every level where it is hierarchical."""
    return pyramid(image_loss(data_range=2.0), interp_mode="area")


def average_settings() -> Config:
    """The settings of a denoiser's loss and of the average of its weights."""
    return {
        "loss_terms": ["mse"],
        "ema_momentum": 0.005,
        "ema_momentum_start": 0.1,
        "ema_warmup_iterations": 500,
        "snapshot_interval": 0,
    }


def average() -> Config:
    """The average of the weights."""
    return component(
        "ignite.handlers.EMAHandler",
        model="@network",
        momentum="@ema_momentum",
        momentum_warmup="@ema_momentum_start",
        warmup_iters="@ema_warmup_iterations",
    )


def load_average() -> Config:
    """Load the best weights into the average, which is what is evaluated."""
    return load_weights(AVERAGE)


def denoiser_training(
    train_transforms: Config,
    validation_transforms: Config,
    prepare: tuple[Config, Config],
    inferer: Config,
    examples: Config,
    *handlers: Config,
    **train: Any,
) -> Config:
    """The parts ``train`` and ``validate`` and the average of the weights.

    Args:
        train_transforms, validation_transforms: from a case to a sample.
        prepare: noise images, for training and for validation.
        inferer: how the network is called.
        examples: draws examples.
        handlers: further ones of the trainer.
        train: further arguments of :func:`.training.training_part`.
    """
    mse = "monai.handlers.MeanSquaredError"
    validate = validation_part(
        preprocessing=validation_transforms,
        postprocessing=compose(),
        key_metric={"val_mse": component(mse, output_transform=FROM_BATCH)},
        additional_metrics=None,
        batch_size="@batch_size",
        inferer=inferer,
        network=AVERAGE,
        prepare_batch="@validate#prepare_batch",
        metric_cmp_fn="$lambda new, best: new < best",
    )
    return {
        "train": training_part(
            preprocessing=train_transforms,
            key_metric={"train_mse": component(mse, output_transform=FROM_TRAINING)},
            handlers=[*trainer_handlers(None, ema=True, examples=examples), *handlers],
            inferer=inferer,
            prepare_batch=prepare[0],
            **train,
        ),
        "validate": {**validate, "prepare_batch": prepare[1]},
        "ema": average(),
    }


def schedule_settings(prediction_type: str = "v_prediction") -> Config:
    """The settings of a schedule of noise."""
    return {"num_train_timesteps": 1000, "schedule": "cosine", "prediction_type": prediction_type}


def scheduler(sampler: str = "ddpm", **arguments: Any) -> Config:
    """A schedule of noise: training's, or that of a sampler."""
    return component(
        "flemme_monai.diffusion.make_scheduler",
        sampler=sampler,
        num_train_timesteps="@num_train_timesteps",
        schedule="@schedule",
        prediction_type="@prediction_type",
        **arguments,
    )


def sampling_scheduler(**clip_sample: bool) -> Config:
    """The sampler's schedule; ``clip_sample=False`` where what is sampled has no bounds."""
    return scheduler("@sampler", eta="@eta", **clip_sample)


def noise_by_schedule(condition_key: str, **arguments: Any) -> tuple[Config, Config]:
    """Noise images by the schedule, for training and for validation, where a case has the same noise every time."""
    target = "flemme_monai.diffusion.SchedulerPrepareBatch"
    shared = {"scheduler": "@scheduler", "condition_key": condition_key}
    return component(target, **shared, **arguments), component(target, **shared, seed="@seed", **arguments)


def diffusion_inferer() -> Config:
    """The inferer of a denoiser of a schedule in training."""
    return component("monai.inferers.DiffusionInferer", scheduler="@scheduler")


def sampler_settings() -> Config:
    """The settings of a sampler of a schedule."""
    return {"sampler": "ddim", "eta": 0.0}


def schedule_sampler() -> Config:
    """Steps through a schedule."""
    return component(
        "flemme_monai.diffusion.SchedulerSampler", scheduler="@scheduler", num_inference_steps="@num_inference_steps"
    )


def example_sampler(**clip_sample: bool) -> Config:
    """Few steps through a schedule of their own, for the examples of a training."""
    return component(
        "flemme_monai.diffusion.SchedulerSampler",
        scheduler=scheduler("ddim", **clip_sample),
        num_inference_steps="$min(20, @num_train_timesteps)",
    )


def example_inferer(sampler: Config, **decode: str) -> Config:
    """From noise to a training's examples."""
    return component("flemme_monai.diffusion.SamplingInferer", sampler=sampler, progress=False, **decode)


def sampling_inferer(**arguments: Any) -> Config:
    """From noise to samples, step by step."""
    return component(
        "flemme_monai.diffusion.SamplingInferer",
        sampler="@sampling",
        guidance_scale="@guidance_scale",
        seed="@seed",
        **arguments,
    )
