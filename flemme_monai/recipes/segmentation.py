"""Segmentation: ``sem`` and ``hsem``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import Config, Format, Recipe, Workflow, component, compose
from .handlers import evaluation_handlers, inference_handlers, save_case_metrics, save_predictions, trainer_handlers
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
from .metrics import FROM_BATCH, absent_class, confusion, dice_ce, overlap, pyramid, training_dice
from .networks import backbone, network
from .training import (
    optimization,
    split_datalist,
    training_part,
    training_settings,
    training_steps,
    validation_part,
)
from .transforms import invert, load_segmentations, segmentation_transforms

OUTPUTS = {"num_classes": 4}


def sem(name: str, row: Encoder | Network) -> Recipe:
    """Segmentation; of a network from elsewhere the loss is also that of its side outputs."""
    loss = dice_ce() if isinstance(row, Encoder) else pyramid(dice_ce())
    return segmentation(name, network("sem", _backbone(row)), loss, "segmentation")


def hsem(name: str, row: Encoder | Network) -> Recipe:
    """Hierarchical segmentation: the loss is of the final output and of every level."""
    network_def = network("hsem", _backbone(row))
    return segmentation(name, network_def, pyramid(dice_ce()), "hierarchical segmentation")


def _backbone(row: Encoder | Network) -> Config:
    return backbone(row, "@in_channels", "@num_classes")


def segmentation(name: str, network_def: Config, loss: Config, title: str) -> Recipe:
    """A bundle that segments images.

    Args:
        name: the bundle's name.
        network_def: the network.
        loss: what training lowers.
        title: what the bundle does, in words.
    """
    return Recipe(
        title=title,
        workflows={
            "train": training(name, network_def, loss),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=Format("image", "segmentation", ("background", "class {i}"), (-5, 5), (), patches=True),
        readme="segmentation",
    )


def training(name: str, network_def: Config, loss: Config) -> Workflow:
    """``train.json``: crops of images and labels; validation by windows over whole images."""
    return Workflow(
        settings={
            **training_settings(name, OUTPUTS),
            "augmentation": {
                "flip": 0.5,
                "rotate": 0.2,
                "scale": 0.2,
                "elastic": 0.1,
                "intensity": 0.3,
                "noise": 0.2,
            },
            "empty_class": "zero_one",
        },
        components={
            "datalist": split_datalist("segmentation", "@num_classes"),
            **optimization(network_def, loss),
            "train": training_part(
                preprocessing=segmentation_transforms(train=True),
                key_metric={"train_dice": training_dice()},
                handlers=[*trainer_handlers("segmentation"), check_foreground()],
            ),
            "validate": validation_part(
                preprocessing=segmentation_transforms(train=False),
                postprocessing=one_hot(),
                key_metric={"dice": overlap(score="dice", empty_class="@empty_class")},
                additional_metrics={
                    "val_loss": component("flemme_monai.handlers.ValidationLoss", loss="@loss"),
                    "iou": overlap(score="iou", empty_class="@empty_class"),
                },
                slices=False,
            ),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train.json``: all metrics of the test cases."""
    return Workflow(
        settings=evaluation_settings(),
        components={
            **evaluation_components(evaluation_handlers(save_case_metrics())),
            "validate#additional_metrics": {
                "iou": overlap(score="iou", empty_class="@empty_class"),
                "absent_class_voxels": absent_class("voxels"),
                "absent_class_mm3": absent_class("mm3"),
                "recall": confusion("recall"),
                "precision": confusion("precision"),
                "surface_distance": component(
                    "monai.handlers.SurfaceDistance",
                    include_background=False,
                    symmetric=True,
                    output_transform=FROM_BATCH,
                ),
                "hausdorff95": component(
                    "monai.handlers.HausdorffDistance",
                    include_background=False,
                    percentile=95,
                    output_transform=FROM_BATCH,
                ),
            },
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: label maps of the images of a folder."""
    return Workflow(
        settings=inference_settings(name, OUTPUTS),
        components=inference_components(
            datalist=inference_list("segmentation", "@num_classes"),
            network_def=network_def,
            preprocessing=compose(*load_segmentations(need_label=False)),
            postprocessing=compose(component("monai.transforms.AsDiscreted", keys="pred", argmax=True), invert()),
            handlers=inference_handlers(save_predictions("segmentation", "seg")),
        ),
        steps=inference_steps(),
    )


def one_hot() -> Config:
    """Prediction and label, a channel a class."""
    return compose(
        component("monai.transforms.AsDiscreted", keys="pred", argmax=True, to_onehot="@num_classes"),
        component("monai.transforms.AsDiscreted", keys="label", to_onehot="@num_classes"),
    )


def check_foreground() -> Config:
    """Refuse cases without any foreground class, which cannot be learned from."""
    return component(
        "flemme_monai.handlers.CheckForeground",
        training="@train#dataset",
        validation="@validate#dataset",
        num_classes="@num_classes",
        evaluator="@validate#evaluator",
    )
