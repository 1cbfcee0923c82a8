"""Segmentation: ``sem`` and ``hsem``."""

from __future__ import annotations

from typing import Any

from ..registry import Encoder, Network
from .base import BEST_WEIGHTS, DEVICE, MULTI_LABEL, Config, Format, Recipe, Workflow, component, compose
from .conditions import OF_TABLE, STATISTICS, TABLE, tell_condition
from .handlers import (
    evaluation_handlers,
    inference_handlers,
    load_weights,
    save_case_metrics,
    save_outputs,
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
    binary_cross_entropy,
    confusion,
    deeply_supervised,
    optional_overlap,
    overlap,
    pyramid,
    segmentation_loss,
    surface,
    time_saved,
    training_dice,
)
from .networks import alignment, backbone, class_conditioning, network
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
from .transforms import (
    NOT_RESAMPLED,
    invert,
    keep_largest,
    load_segmentations,
    segmentation_transforms,
    to_own_grid,
)

OUTPUTS = {"num_classes": 4}
GRID = {"spacing": None, "crop_foreground": False, "crop_above": None}  # settings of all that loads images, as planned
INTENSITIES = {"intensity_range": None, "intensity_mean_std": None, "nonzero": False}
WINDOWS = {"sw_batch_size": 2, "mirror": [], "keep_largest": None}  # settings of all predictions of whole images
ENSEMBLE = (
    f"flemme_monai.inferers.trained_ensemble(@network_def, {BEST_WEIGHTS}, @bundle_root, {MULTI_LABEL})"
    f".to({DEVICE[1:]})"
)
SAVE_PROBABILITIES = "(flemme_monai.utils.as_bool(@save_probabilities) or 'probabilities' in @save_outputs)"
SAVE_LOGITS = "('logits' in @save_outputs)"
SOFT_DICE = "(flemme_monai.utils.as_bool(@soft_dice) and not @evaluate_folder)"
ADJUSTED_RAND = "flemme_monai.utils.as_bool(@adjusted_rand)"
CONDITION = {"condition_classes": None, **TABLE}  # classes of whole images, or numbers, which the network receives
MASKS = {"multi_label": False, "class_names": None}  # what labels and predictions are
IMAGES = {"clip_share": None, "resize": False}  # how images are prepared
AUGMENTATION: Config = {
    "flip": 0.5,
    "flip_axes": [0, 1],
    "rotate": 0.2,
    "scale": 0.2,
    "elastic": 0.1,
    "intensity": 0.3,
    "noise": 0.2,
    "rotate_range": 0.35,
    **dict.fromkeys(("brightness", "gamma", "contrast"), 0.0),
    "contrast_range": [0.6, 1.6],
    **dict.fromkeys(("saturation", "hue", "blur"), 0.0),
    "blur_range": [0.5, 1.5],
    **dict.fromkeys(("low_resolution", "screen_photo"), 0.0),
}
PICTURE = f"$'multi_label' if {MULTI_LABEL} else 'segmentation'"
RESIZED_TO = "flemme_monai.transforms.whole_image_size(@image_size, @resize, @spacing, @crop_foreground)"


def sem(name: str, row: Encoder | Network) -> Recipe:
    """Segmentation; of a network with side outputs the loss is also theirs."""
    sides = isinstance(row, Network) and row.deep_supervision
    more = {**({"deep_supervision": True} if sides else {}), **_class_condition(row)}
    network_def = network("sem", _backbone(row, **more), alignment=alignment())
    loss = deeply_supervised(segmentation_loss()) if sides else segmentation_loss()
    return segmentation(name, network_def, loss, "segmentation")


def hsem(name: str, row: Encoder | Network) -> Recipe:
    """Hierarchical segmentation: the loss is of the final output and of every level."""
    network_def = network("hsem", _backbone(row, **_class_condition(row)), alignment=alignment())
    return segmentation(name, network_def, pyramid(segmentation_loss()), "hierarchical segmentation")


def _class_condition(row: Encoder | Network) -> Config:
    """An encoder's condition, the class of the whole image or numbers, where there are some."""
    return {"conditioning": class_conditioning("@condition_classes")} if isinstance(row, Encoder) else {}


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
            "multi_gpu_train": multi_gpu_training(
                num_draws="$None if @steps_per_epoch is None else @steps_per_epoch * @batch_size"
            ),
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
        sampler=steps_sampler(),
        prepare_batch=tell_condition("@condition_classes"),
        keep_empty="$flemme_monai.utils.as_bool(@keep_empty)",
    )
    aligns = "alignment" in network_def
    if aligns:
        train["trainer"]["loss_function"] = aligned("@loss")
    return Workflow(
        settings={
            **label_map_settings(name),
            "empty_class": "zero_one",
            "loss_terms": ["dice", "ce"],
            **({"stn": False, "stn_penalty": 0.1} if aligns else {}),
            **CONDITION,
        },
        components={
            "datalist": split_datalist(
                "segmentation",
                "@num_classes",
                multi_label=f"${MULTI_LABEL}",
                class_names="@class_names",
                condition_classes="@condition_classes",
                **OF_TABLE,
            ),
            "resized_to": f"${RESIZED_TO}",
            **optimization(network_def, loss, **STATISTICS),
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
                prepare_batch="@train#prepare_batch",
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
            "time_saved": None,
            "time_absent": "ignore",
            "soft_dice": False,
            "adjusted_rand": False,
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
            "validate#preprocessing": compose(*load_segmentations(own_grid=True, unless="bool(@evaluate_folder)")),
            "validate#inferer": label_windows(argmax=f"${NOT_RESAMPLED} and not ({MULTI_LABEL} or {SOFT_DICE})"),
            "validate#evaluator#inferer": "$monai.inferers.SimpleInferer() if @evaluate_folder else @validate#inferer",
            "validate#postprocessing": one_hot(
                component(
                    "flemme_monai.transforms.LoadPredictiond",
                    _disabled_="$not @evaluate_folder",
                    keys="pred",
                    num_classes="@num_classes",
                ),
                to_own_grid("@validate#preprocessing", "pred", "label"),
                component(
                    "flemme_monai.transforms.LabelMapd",
                    keys="pred",
                    probabilities_key=f"$'probabilities' if {SOFT_DICE} else None",
                    multi_label=f"${MULTI_LABEL}",
                ),
                keep_largest(),
            ),
            "validate#additional_metrics": {
                **label_map_metrics(),
                "soft_dice": optional_overlap("SoftDice", f"not {SOFT_DICE}", "probabilities", "label"),
                "adjusted_rand": optional_overlap("AdjustedRandIndex", f"not {ADJUSTED_RAND}"),
                "time_saved": time_saved(),
                "time_saved_total": time_saved(total=True),
                "bce": binary_cross_entropy(),
            },
        },
        steps=evaluation_steps(),
    )


def label_map_settings(name: str) -> Config:
    """The settings of a training on images with label maps, whatever the network makes of them."""
    return {
        **training_settings(name, OUTPUTS),
        **GRID,
        **INTENSITIES,
        "foreground_share": 0.0,
        "steps_per_epoch": None,
        **MASKS,
        **IMAGES,
        "keep_empty": True,
        "augmentation": AUGMENTATION,
    }


def label_map_metrics() -> Config:
    """The metrics of label maps beside the Dice."""
    return {
        "iou": overlap(score="iou", empty_class="@empty_class"),
        "absent_class_voxels": absent_class("voxels"),
        "absent_class_mm3": absent_class("mm3"),
        "recall": confusion("recall"),
        "precision": confusion("precision"),
        "surface_distance": surface("SurfaceDistance", symmetric=True),
        "hausdorff95": surface("HausdorffDistance", percentile=95),
        "surface_dice": surface("SurfaceDice", tolerance="@surface_tolerance"),
    }


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: label maps of the images of a folder."""
    asked = "flemme_monai.utils.as_bool(@save_probabilities)"
    probabilities = save_predictions("probabilities", "probabilities", key="probabilities", _disabled_=f"$not {asked}")
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS),
            **GRID,
            **INTENSITIES,
            **CONDITION,
            **MASKS,
            **IMAGES,
            **WINDOWS,
            "part": None,
            "save_probabilities": False,
            "save_outputs": [],
            **({"stn": False} if "alignment" in network_def else {}),
        },
        components={
            **inference_components(
                datalist=inference_list(
                    "segmentation",
                    "@num_classes",
                    multi_label=f"${MULTI_LABEL}",
                    part="@part",
                    record="$flemme_monai.utils.paths_in(@ckpt_dir, 'split.json')",
                    condition_classes="@condition_classes",
                    **OF_TABLE,
                ),
                network_def=network_def,
                preprocessing=compose(*load_segmentations(need_label=False, own_grid=True)),
                postprocessing=compose(
                    invert(),
                    to_own_grid("@preprocessing", "image", "label"),  # which pictures show
                    component(
                        "monai.transforms.CopyItemsd", _disabled_=f"$not {SAVE_LOGITS}", keys="pred", names="logits"
                    ),
                    component(
                        "flemme_monai.transforms.LabelMapd",
                        keys="pred",
                        probabilities_key=f"$'probabilities' if {SAVE_PROBABILITIES} else None",
                        multi_label=f"${MULTI_LABEL}",
                    ),
                    keep_largest(),
                ),
                handlers=inference_handlers(
                    save_predictions("segmentation", "seg", _disabled_=f"${MULTI_LABEL}"),
                    save_masks(),
                    probabilities,
                    save_outputs(),
                ),
                prepare_batch=tell_condition("@condition_classes"),
                inferer=label_windows(
                    argmax=f"$not ({MULTI_LABEL} or {SAVE_PROBABILITIES} or {SAVE_LOGITS}) and {NOT_RESAMPLED}"
                ),
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
