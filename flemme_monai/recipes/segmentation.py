"""Segmentation: ``sem`` and ``hsem``."""

from __future__ import annotations

from typing import Any

from ..registry import Encoder, Network
from .base import BEST_WEIGHTS, DEVICE, Config, Format, Recipe, Workflow, component, compose
from .handlers import (
    evaluation_handlers,
    inference_handlers,
    load_weights,
    save_case_metrics,
    save_predictions,
    trainer_handlers,
)
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
from .metrics import (
    absent_class,
    confusion,
    deeply_supervised,
    overlap,
    pyramid,
    segmentation_loss,
    surface,
    training_dice,
)
from .networks import backbone, network
from .training import (
    optimization,
    split_datalist,
    training_part,
    training_settings,
    training_steps,
    validation_part,
    window_inferer,
)
from .transforms import (
    NOT_RESAMPLED,
    invert,
    keep_largest,
    load_segmentations,
    segmentation_transforms,
    to_own_grid,
)

OUTPUTS = {"num_classes": 4}
GRID = {"spacing": None, "crop_foreground": False}  # settings of all that loads images, as planned
INTENSITIES = {"intensity_range": None, "intensity_mean_std": None, "nonzero": False}
WINDOWS = {"sw_batch_size": 2, "mirror": [], "keep_largest": None}  # settings of all predictions of whole images
ENSEMBLE = f"flemme_monai.inferers.trained_ensemble(@network_def, {BEST_WEIGHTS}, @bundle_root).to({DEVICE[1:]})"
SAVE_PROBABILITIES = "flemme_monai.utils.as_bool(@save_probabilities)"


def sem(name: str, row: Encoder | Network) -> Recipe:
    """Segmentation; of a network with side outputs the loss is also theirs."""
    sides = isinstance(row, Network) and row.deep_supervision
    network_def = network("sem", _backbone(row, **({"deep_supervision": True} if sides else {})))
    loss = deeply_supervised(segmentation_loss()) if sides else segmentation_loss()
    return segmentation(name, network_def, loss, "segmentation")


def hsem(name: str, row: Encoder | Network) -> Recipe:
    """Hierarchical segmentation: the loss is of the final output and of every level."""
    network_def = network("hsem", _backbone(row))
    return segmentation(name, network_def, pyramid(segmentation_loss()), "hierarchical segmentation")


def _backbone(row: Encoder | Network, **more: Any) -> Config:
    return backbone(row, "@in_channels", "@num_classes", **more)


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
            **GRID,
            **INTENSITIES,
            "foreground_share": 0.0,
            "steps_per_epoch": None,
            "augmentation": {
                "flip": 0.5,
                "rotate": 0.2,
                "scale": 0.2,
                "elastic": 0.1,
                "intensity": 0.3,
                "noise": 0.2,
                "rotate_range": 0.35,
                "blur": 0.0,
                "contrast": 0.0,
                "low_resolution": 0.0,
                "gamma": 0.0,
            },
            "empty_class": "zero_one",
            "loss_terms": ["dice", "ce"],
        },
        components={
            "datalist": split_datalist("segmentation", "@num_classes"),
            **optimization(network_def, loss),
            "train": training_part(
                preprocessing=segmentation_transforms(train=True),
                key_metric={"train_dice": training_dice()},
                handlers=[*trainer_handlers("segmentation"), check_foreground()],
                sampler=steps_sampler(),
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
    """``evaluate.json``, over ``train.json``: all metrics of the test cases, predicted or from files."""
    load = load_weights(_disabled_="$bool(@evaluate_folder)")
    return Workflow(
        settings={
            **evaluation_settings(),
            "overlap": 0.25,
            **WINDOWS,
            "surface_tolerance": 1.0,
            "evaluate_folder": None,
        },
        components={
            **evaluation_components(evaluation_handlers(save_case_metrics(), load=load)),
            "network": f"$torch.nn.Identity() if @evaluate_folder else {ENSEMBLE}",
            "validate#dataset#data": "$flemme_monai.data.with_predictions(@datalist, 'test', @evaluate_folder)",
            "validate#preprocessing": compose(*load_segmentations(own_grid=True, unless="bool(@evaluate_folder)")),
            "validate#inferer": label_windows(argmax=f"${NOT_RESAMPLED}"),
            "validate#evaluator#inferer": "$monai.inferers.SimpleInferer() if @evaluate_folder else @validate#inferer",
            "validate#postprocessing": one_hot(
                component(
                    "flemme_monai.transforms.LoadPredictiond",
                    _disabled_="$not @evaluate_folder",
                    keys="pred",
                    num_classes="@num_classes",
                ),
                to_own_grid("@validate#preprocessing", "pred", "label"),
                component("flemme_monai.transforms.LabelMapd", keys="pred"),
                keep_largest(),
            ),
            "validate#additional_metrics": {
                "iou": overlap(score="iou", empty_class="@empty_class"),
                "absent_class_voxels": absent_class("voxels"),
                "absent_class_mm3": absent_class("mm3"),
                "recall": confusion("recall"),
                "precision": confusion("precision"),
                "surface_distance": surface("surface_distance"),
                "hausdorff95": surface("hausdorff95"),
                "surface_dice": surface("surface_dice", tolerance="@surface_tolerance"),
            },
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: label maps of the images of a folder."""
    probabilities = save_predictions(
        "probabilities", "probabilities", key="probabilities", _disabled_=f"$not {SAVE_PROBABILITIES}"
    )
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS),
            **GRID,
            **INTENSITIES,
            **WINDOWS,
            "save_probabilities": False,
        },
        components={
            **inference_components(
                datalist=inference_list("segmentation", "@num_classes"),
                network_def=network_def,
                preprocessing=compose(*load_segmentations(need_label=False, own_grid=True)),
                postprocessing=compose(
                    invert(),
                    to_own_grid("@preprocessing", "image", "label"),  # which pictures show
                    component(
                        "flemme_monai.transforms.LabelMapd",
                        keys="pred",
                        probabilities_key=f"$'probabilities' if {SAVE_PROBABILITIES} else None",
                    ),
                    keep_largest(),
                ),
                handlers=inference_handlers(save_predictions("segmentation", "seg"), probabilities),
                inferer=label_windows(argmax=f"$not {SAVE_PROBABILITIES} and {NOT_RESAMPLED}"),
            ),
            "network": f"${ENSEMBLE}",
        },
        steps=inference_steps(),
    )


def label_windows(argmax: bool | str) -> Config:
    """Windows of which the inferer makes label maps; scores of all classes where ``argmax`` is false."""
    return window_inferer("@overlap", "@sw_batch_size", mirror="@mirror", softmax=True, argmax=argmax, progress=True)


def one_hot(*label_map: Config) -> Config:
    """Prediction and label, a channel a class.

    Args:
        label_map: what makes a label map of the prediction; the class of the highest score by default.
    """
    argmax = {} if label_map else {"argmax": True}
    return compose(
        *label_map,
        component("monai.transforms.AsDiscreted", keys="pred", **argmax, to_onehot="@num_classes"),
        component("monai.transforms.AsDiscreted", keys="label", to_onehot="@num_classes"),
    )


def steps_sampler() -> Config:
    """As many batches in an epoch as the setting says: every case once or more, then some."""
    return component(
        "torch.utils.data.RandomSampler",
        _disabled_="$@steps_per_epoch is None",
        data_source="@train#dataset",
        num_samples="$(@steps_per_epoch or 1) * @batch_size",
        generator="@train#dataloader#generator",
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
