"""Auto-encoding and reconstruction: ``ae`` and ``hae``."""

from __future__ import annotations

from ..registry import FAMILIES, Encoder, Network
from .base import CONTEXT_KEY, Config, Format, Recipe, Workflow, compose
from .conditions import OF_TABLE, STATISTICS, TABLE, tell_condition
from .handlers import (
    evaluation_handlers,
    inference_handlers,
    save_case_metrics,
    save_latent_tsne,
    save_outputs,
    save_predictions,
    trainer_handlers,
)
from .inference import (
    LATENTS,
    evaluation_components,
    evaluation_settings,
    evaluation_steps,
    inference_components,
    inference_list,
    inference_settings,
    inference_steps,
    multi_gpu_training,
)
from .interpolation import between_images
from .metrics import FROM_TRAINING, image_loss, mean_absolute_error, psnr, pyramid, reconstruction_metrics
from .networks import backbone, class_conditioning, is_conv, is_plain, network
from .training import (
    case_dataset,
    optimization,
    split_datalist,
    training_part,
    training_settings,
    training_steps,
    validation_part,
)
from .transforms import GIVEN, invert, reconstruction_images, reconstruction_transforms, resize, with_meta

OUTPUTS = {"out_channels": 1}
TASK = "$'generation' if @num_classes else 'reconstruction'"
CASE_OUTPUTS = "$@num_classes or @out_channels"
RESIDUAL = "$@degradation != 'none' and @in_channels == @out_channels"
PAIRS: Config = {"target_scale": "input", "upscale": 1}  # of reconstruction from given pairs
FORMAT = Format("image", "magnitude", ("image",), (0, 1), (0, 1), patches=True)

# phantoms are few and alike: more and larger steps in fewer epochs show within a minute or two that a network learns
FIRST_LOOK = {
    "batch_size": "$8 if @dataset_dir else 4",
    "epochs": "$40 if @dataset_dir else 16",
    "learning_rate": "$0.001 if @dataset_dir else 0.003",
}


def ae(name: str, row: Encoder | Network) -> Recipe:
    """Auto-encoding and reconstruction, with a picture of the latents; a plain encoder's are interpolated too."""
    network_def = network("ae", _backbone(row), residual=RESIDUAL)
    loss = image_loss()
    return Recipe(
        title="auto-encoding and reconstruction",
        workflows={
            "train": training(name, network_def, loss),
            "evaluate": evaluation(latents=True),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
            **({"interpolate": between_images()} if is_plain(row) else {}),
        },
        format=FORMAT,
        readme="reconstruction",
    )


def hae(name: str, row: Encoder | Network) -> Recipe:
    """Hierarchical auto-encoding and reconstruction: the loss is of the final output and of every level."""
    network_def = network("hae", _backbone(row), residual=RESIDUAL)
    loss = pyramid(image_loss(), interp_mode="area")
    return Recipe(
        title="hierarchical auto-encoding and reconstruction",
        workflows={
            "train": training(name, network_def, loss),
            "evaluate": evaluation(latents=False),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=FORMAT,
        readme="reconstruction",
    )


def _backbone(row: Encoder | Network) -> Config:
    # all of an image passes the latent of a plain encoder: interpolated positions would have to be told apart again
    from ..utils.settings import component_parameters  # imports torch, as listing the pairs need not

    by_patches = is_plain(row) and not is_conv(row)
    takes = isinstance(row, Encoder) and "up_mode" in (component_parameters(FAMILIES[row.family].path) or ())
    blocks = {"up_mode": "conv"} if by_patches and takes else {}
    return backbone(row, "@in_channels", "@out_channels", blocks=blocks, conditioning=class_conditioning())


def reconstruction_settings(name: str, degradation: str) -> Config:
    """The settings of a training that restores images."""
    return {
        **training_settings(name, OUTPUTS),
        "augmentation": {
            "flip": 0.5,
            "rotate": 0.0,
            "scale": 0.0,
            "elastic": 0.0,
            "intensity": 0.3,
            "noise": 0.0,
        },
        "degradation": degradation,
        "acceleration": 4,
        "center_fraction": 0.08,
        **PAIRS,
    }


def training(name: str, network_def: Config, loss: Config) -> Workflow:
    """``train.json``: crops of degraded images and the images themselves; validation by windows."""
    return Workflow(
        settings={
            **reconstruction_settings(name, "none"),
            **FIRST_LOOK,
            "num_classes": None,
            **TABLE,
            "loss_terms": ["l1"],
        },
        components={
            "datalist": split_datalist(TASK, CASE_OUTPUTS, pairs=f"${GIVEN}", **OF_TABLE),
            **optimization(network_def, loss, **STATISTICS),
            "train": training_part(
                preprocessing=reconstruction_transforms(train=True),
                key_metric={"train_psnr": psnr(1.0, FROM_TRAINING)},
                handlers=trainer_handlers("reconstruction"),
                prepare_batch=tell_condition("@num_classes"),
            ),
            "validate": validation_part(
                preprocessing=reconstruction_transforms(train=False),
                postprocessing=compose(with_meta(["pred", "label"])),
                key_metric={"psnr": psnr(1.0)},
                additional_metrics=reconstruction_metrics(),
                prepare_batch="@train#prepare_batch",
            ),
        },
        steps=training_steps(),
    )


def evaluation(latents: bool) -> Workflow:
    """``evaluate.json``, over ``train.json``: all metrics of the test cases.

    Args:
        latents: with a picture of their latents.
    """
    reports = [save_case_metrics()]
    latent_images = {}
    if latents:
        reports.append(save_latent_tsne("@network", CONTEXT_KEY))
        transform = compose("@validate#preprocessing", resize())
        latent_images = {"latent_images": case_dataset("test", transform)}
    return Workflow(
        settings={**evaluation_settings(), **({"class_names": None, **LATENTS} if latents else {})},
        components={
            **evaluation_components(evaluation_handlers(*reports)),
            "validate#additional_metrics#mae": mean_absolute_error(),
            **latent_images,
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: the images of a folder, restored."""
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS),
            "degradation": "none",
            "upscale": PAIRS["upscale"],
            "num_classes": None,
            **TABLE,
            "save_outputs": [],
        },
        components=inference_components(
            datalist=inference_list(TASK, CASE_OUTPUTS, pairs=f"${GIVEN}", **OF_TABLE),
            network_def=network_def,
            preprocessing=compose(*reconstruction_images()),
            postprocessing=compose(with_meta("pred"), invert()),
            handlers=inference_handlers(save_predictions("reconstruction", "recon"), save_outputs()),
            prepare_batch=tell_condition("@num_classes"),
        ),
        steps=inference_steps(),
    )
