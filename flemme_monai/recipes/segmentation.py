"""Segmentation: ``sem`` and ``hsem``."""

from __future__ import annotations

from typing import Any

from ..registry import Encoder, Network
from .base import BEST_WEIGHTS, DEVICE, MULTI_LABEL, Config, Format, Recipe, Workflow, component, compose
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
    aligned,
    confusion,
    deeply_supervised,
    overlap,
    pyramid,
    segmentation_loss,
    surface,
    time_saved,
    training_dice,
)
from .networks import alignment, backbone, network
from .pretrain import pretraining
from .sas import sas
from .training import (
    optimization,
    split_datalist,
    training_part,
    training_settings,
    training_steps,
    validation_part,
    window_inferer,
)
from .transforms import invert, keep_largest, load_segmentations, segmentation_transforms

OUTPUTS = {"num_classes": 4}
WINDOWS = {"sw_batch_size": 2, "mirror": [], "keep_largest": None}  # settings of all predictions of whole images
ENSEMBLE = (
    f"flemme_monai.inferers.trained_ensemble(@network_def, {BEST_WEIGHTS}, @bundle_root, {MULTI_LABEL})"
    f".to({DEVICE[1:]})"
)
SAVE_PROBABILITIES = "flemme_monai.utils.as_bool(@save_probabilities)"
MASKS = {"multi_label": False, "class_names": None}  # what labels and predictions are
IMAGES = {"clip_share": None, "resize": False}  # how images are prepared
PICTURE = f"$'multi_label' if {MULTI_LABEL} else 'segmentation'"
RESIZED_TO = "@image_size if flemme_monai.utils.as_bool(@resize) else None"


def sem(name: str, row: Encoder | Network) -> Recipe:
    """Segmentation; of a network with side outputs the loss is also theirs."""
    sides = isinstance(row, Network) and row.deep_supervision
    network_def = network("sem", _backbone(row, **({"deep_supervision": True} if sides else {})), alignment=alignment())
    loss = deeply_supervised(segmentation_loss()) if sides else segmentation_loss()
    return segmentation(name, network_def, loss, "segmentation")


def hsem(name: str, row: Encoder | Network) -> Recipe:
    """Hierarchical segmentation: the loss is of the final output and of every level."""
    network_def = network("hsem", _backbone(row), alignment=alignment())
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
            "pretrain": pretraining(),
            **({"sas": sas()} if "alignment" in network_def else {}),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=Format("image", "segmentation", ("background", "class {i}"), (-5, 5), (), patches=True),
        readme="segmentation",
    )


def training(name: str, network_def: Config, loss: Config) -> Workflow:
    """``train.json``: crops of images and labels; validation by windows over whole images."""
    train = training_part(
        preprocessing=segmentation_transforms(train=True),
        key_metric={"train_dice": training_dice()},
        handlers=[*trainer_handlers(PICTURE), check_foreground()],
        keep_empty="$flemme_monai.utils.as_bool(@keep_empty)",
    )
    aligns = "alignment" in network_def
    if aligns:
        train["trainer"]["loss_function"] = aligned("@loss")
    return Workflow(
        settings={
            **training_settings(name, OUTPUTS),
            **MASKS,
            **IMAGES,
            "keep_empty": True,
            "augmentation": {
                "flip": 0.5,
                "rotate": 0.2,
                "scale": 0.2,
                "elastic": 0.1,
                "intensity": 0.3,
                "noise": 0.2,
                **dict.fromkeys(("brightness", "contrast", "saturation", "hue", "blur", "screen_photo"), 0.0),
            },
            "empty_class": "zero_one",
            "loss_terms": ["dice", "ce"],
            **({"stn": False, "stn_penalty": 0.1} if aligns else {}),
        },
        components={
            "datalist": split_datalist(
                "segmentation", "@num_classes", multi_label=f"${MULTI_LABEL}", class_names="@class_names"
            ),
            "resized_to": f"${RESIZED_TO}",
            **optimization(network_def, loss),
            "train": train,
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
            "evaluate_folder": None,
            "time_saved": None,
            "time_absent": "ignore",
        },
        components={
            **evaluation_components(
                evaluation_handlers(save_case_metrics(class_names="@names", of_cases=["time_saved_total"]), load=load)
            ),
            "names": names_of_classes("@datalist['test']"),
            "resized_to": f"$None if @evaluate_folder else {RESIZED_TO}",
            "network": f"$torch.nn.Identity() if @evaluate_folder else {ENSEMBLE}",
            "validate#dataset#data": "$flemme_monai.data.with_predictions(@datalist, 'test', @evaluate_folder, "
            f"@names if {MULTI_LABEL} else None)",
            "validate#inferer": label_windows(argmax=f"$not {MULTI_LABEL}"),
            "validate#evaluator#inferer": "$monai.inferers.SimpleInferer() if @evaluate_folder else @validate#inferer",
            "validate#postprocessing": one_hot(
                component(
                    "flemme_monai.transforms.LoadPredictiond",
                    _disabled_="$not @evaluate_folder",
                    keys="pred",
                    num_classes="@num_classes",
                ),
                component("flemme_monai.transforms.LabelMapd", keys="pred", multi_label=f"${MULTI_LABEL}"),
                keep_largest(),
            ),
            "validate#additional_metrics": {
                "iou": overlap(score="iou", empty_class="@empty_class"),
                "absent_class_voxels": absent_class("voxels"),
                "absent_class_mm3": absent_class("mm3"),
                "recall": confusion("recall"),
                "precision": confusion("precision"),
                "surface_distance": surface("SurfaceDistance", symmetric=True),
                "hausdorff95": surface("HausdorffDistance", percentile=95),
                "time_saved": time_saved(),
                "time_saved_total": time_saved(total=True),
                "bce": component(
                    "flemme_monai.handlers.ValidationLoss",
                    _disabled_=f"$not {MULTI_LABEL} or bool(@evaluate_folder)",
                    loss=component("flemme_monai.losses.SegmentationLoss", terms=["bce"], multi_label=True),
                ),
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
            **MASKS,
            **IMAGES,
            **WINDOWS,
            "save_probabilities": False,
            **({"stn": False} if "alignment" in network_def else {}),
        },
        components={
            **inference_components(
                datalist=inference_list("segmentation", "@num_classes", multi_label=f"${MULTI_LABEL}"),
                network_def=network_def,
                preprocessing=compose(*load_segmentations(need_label=False)),
                postprocessing=compose(
                    component(
                        "flemme_monai.transforms.LabelMapd",
                        keys="pred",
                        probabilities_key=f"$'probabilities' if {SAVE_PROBABILITIES} else None",
                        multi_label=f"${MULTI_LABEL}",
                    ),
                    keep_largest(),
                    invert(["pred", "probabilities"], allow_missing_keys=True),
                ),
                handlers=inference_handlers(
                    save_predictions("segmentation", "seg", _disabled_=f"${MULTI_LABEL}"), save_masks(), probabilities
                ),
                inferer=label_windows(argmax=f"$not ({MULTI_LABEL} or {SAVE_PROBABILITIES})"),
            ),
            "resized_to": f"${RESIZED_TO}",
            "network": f"${ENSEMBLE}",
        },
        steps=inference_steps(),
    )


def label_windows(argmax: bool | str) -> Config:
    """Windows of which the inferer makes label maps; scores of all classes where ``argmax`` is false."""
    return window_inferer(
        "@overlap",
        "@sw_batch_size",
        mirror="@mirror",
        softmax=True,
        argmax=argmax,
        progress=True,
        sigmoid=f"${MULTI_LABEL}",
    )


def one_hot(*label_map: Config) -> Config:
    """Prediction and label, a channel a class; masks of classes that may overlap are that.

    Args:
        label_map: what makes a label map of the prediction; the class of the highest score by default, and a byte a
            voxel, since validation has whole volumes beside the training.
    """
    classes = f"$None if {MULTI_LABEL} else @num_classes"
    discrete = {} if label_map else {"argmax": f"$not {MULTI_LABEL}", "threshold": f"$0.0 if {MULTI_LABEL} else None"}
    small = {} if label_map else {"dtype": "$torch.uint8"}
    return compose(
        *label_map,
        component("monai.transforms.AsDiscreted", keys="pred", **discrete, to_onehot=classes, **small),
        component("monai.transforms.AsDiscreted", keys="label", to_onehot=classes, **small),
    )


def check_foreground() -> Config:
    """Refuse cases without any foreground class, which cannot be learned from."""
    return component(
        "flemme_monai.handlers.CheckForeground",
        training="@train#dataset",
        validation="@validate#dataset",
        num_classes="@num_classes",
        evaluator="@validate#evaluator",
        multi_label=f"${MULTI_LABEL}",
    )


def names_of_classes(cases: str) -> str:
    """The names of the classes: those that are set, or those of the cases' masks."""
    return f"$flemme_monai.data.class_names({cases}, @class_names, @num_classes, {MULTI_LABEL})"


def save_masks() -> Config:
    """Write the masks of classes that may overlap."""
    return component(
        "flemme_monai.handlers.SaveClassMasks",
        _disabled_=f"$not {MULTI_LABEL}",
        output_dir="@output_dir",
        class_names=names_of_classes("@datalist"),
    )
