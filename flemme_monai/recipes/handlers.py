"""The handlers of trainers and evaluators."""

from __future__ import annotations

from typing import Any

from .base import BEST_WEIGHTS, Config, component

EVALUATOR = "@validate#evaluator"
IS_JOINT = "flemme_monai.utils.unwrap_model(@network).autoencoder is not None"


def trainer_handlers(picture: str | None, ema: bool = False, examples: Config | None = None) -> list[Config]:
    """The handlers of every training.

    Args:
        picture: kind of the pictures of validation cases, such as ``segmentation``; None without.
        ema: an average of the weights is kept.
        examples: what draws the examples where it is no validation case's prediction.
    """
    if examples is None:
        examples = component(
            "flemme_monai.handlers.SaveExamples",
            output_dir="@output_dir",
            evaluator=EVALUATOR,
            task=picture,
            interval="@picture_interval",
        )
    pictures = {} if picture is None else {"evaluator": EVALUATOR, "task": picture}
    average = {"ema": "@ema", "snapshot_interval": "@snapshot_interval"} if ema else {}
    handlers = [
        component("flemme_monai.handlers.EpochSeed", seed="@seed"),
        component("flemme_monai.handlers.ClipGradients", max_norm="@max_gradient_norm"),
        component("flemme_monai.handlers.LearningRate", lr_scheduler="@lr_scheduler", evaluator=EVALUATOR),
        component("flemme_monai.handlers.StopAfterSteps", max_steps="@max_steps"),
        component("monai.handlers.ValidationHandler", validator=EVALUATOR, interval="@val_interval"),
        component("flemme_monai.handlers.EarlyStop", evaluator=EVALUATOR, patience="@patience"),
        component("flemme_monai.handlers.History", output_dir="@output_dir", evaluator=EVALUATOR),
        component("flemme_monai.handlers.TensorBoard", log_dir="@output_dir", **pictures),
        component("flemme_monai.handlers.Progress"),
        component(
            "flemme_monai.handlers.TrainingCheckpoint",
            ckpt_dir="@ckpt_dir",
            network="@network",
            optimizer="@optimizer",
            lr_scheduler="@lr_scheduler",
            evaluator=EVALUATOR,
            resume="$flemme_monai.utils.as_bool(@resume)",
            settings="@network_settings",
            keep_best="@keep_best",
            **average,
        ),
        examples,
        component("flemme_monai.handlers.RunSummary", folders=["@ckpt_dir", "@output_dir"], evaluator=EVALUATOR),
    ]
    if ema:
        handlers.append(component("flemme_monai.handlers.UpdateEMA", ema="@ema"))
    return handlers


def example_samples(inferer: Config, shape: str) -> Config:
    """Draw samples of a denoiser.

    Args:
        inferer: samples, in few steps.
        shape: of a sample's noise.
    """
    return component(
        "flemme_monai.handlers.SaveExampleSamples",
        output_dir="@output_dir",
        evaluator=EVALUATOR,
        inferer=inferer,
        noise=component(
            "flemme_monai.diffusion.InitialNoise",
            num_samples="$4 * min(@num_classes, 8) if @num_classes else 16 if @spatial_dims == 2 else 8",
            shape=shape,
            seed="@seed",
            num_classes="@num_classes",
        ),
        load_path=f"${BEST_WEIGHTS}",
        condition_key="@condition_key",
        interval="@picture_interval",
    )


def example_restorations(inferer: Config, **task: str) -> Config:
    """Draw what a denoiser makes of validation images; ``inferer`` samples, in few steps; ``task=`` is the kind of the
    pictures where they are no restored images."""
    return component(
        "flemme_monai.handlers.SaveExampleRestorations",
        output_dir="@output_dir",
        evaluator=EVALUATOR,
        inferer=inferer,
        load_path=f"${BEST_WEIGHTS}",
        interval="@picture_interval",
        **task,
    )


def load_weights(network: str = "@network", **disabled: str) -> Config:
    """Load the best weights, after a look at the settings that they were trained with."""
    return component(
        "flemme_monai.handlers.CheckpointLoader",
        **disabled,
        load_path=f"${BEST_WEIGHTS}",
        network=network,
        settings="@network_settings",
    )


def load_autoencoder() -> Config:
    """Load the autoencoder's weights, where it is no part of the network."""
    return component(
        "flemme_monai.handlers.CheckpointLoader",
        _disabled_=f"${IS_JOINT}",
        load_path="@autoencoder_path",
        network="@autoencoder",
    )


def run_summary() -> Config:
    """Say what was written and measured."""
    return component("flemme_monai.handlers.RunSummary", folders=["@output_dir"])


def evaluation_handlers(*reports: Config, load: Config | None = None) -> list[Config]:
    """The handlers of an evaluation.

    Args:
        reports: what write the metrics.
        load: what loads the weights, where it is not the network that has them.
    """
    seconds = component("flemme_monai.handlers.SaveSeconds", output_dir="@output_dir")
    return [load or load_weights(), component("flemme_monai.handlers.Progress"), *reports, seconds, run_summary()]


def inference_handlers(save: Config, *more: Config, **name: str) -> list[Config | str]:
    """The handlers of an inference.

    Args:
        save: what writes the predictions.
        more: further ones.
        name: ``name=``, what the progress counts.
    """
    return ["%checkpointloader", component("flemme_monai.handlers.Progress", **name), save, run_summary(), *more]


def save_case_metrics(**more: Any) -> Config:
    """The metrics of each case; ``more`` are further arguments."""
    return component("flemme_monai.handlers.SaveCaseMetrics", output_dir="@output_dir", **more)


def save_predictions(task: str, postfix: str, **more: str) -> Config:
    """Write predictions as files of the images' kind, with a picture each; ``more`` is ``key`` or ``_disabled_``."""
    return component(
        "flemme_monai.handlers.SavePredictions", output_dir="@output_dir", postfix=postfix, task=task, **more
    )


def save_outputs() -> Config:
    """Write what goes into the network and what comes out of it, as asked for."""
    return component("flemme_monai.handlers.SaveOutputs", output_dir="@output_dir", outputs="@save_outputs")


def save_latent_tsne(autoencoder: str, condition_key: str | None) -> Config:
    """A picture of the latents of ``latent_images``."""
    return component(
        "flemme_monai.handlers.SaveLatentTSNE",
        output_dir="@output_dir",
        dataset="@latent_images",
        autoencoder=autoencoder,
        condition_key=condition_key,
        class_names="@class_names",
        dims="@tsne_dims",
        save="$flemme_monai.utils.as_bool(@save_latents)",
    )
