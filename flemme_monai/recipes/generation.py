"""Common parts of all networks that make images: settings, samples from noise, and their evaluation."""

from __future__ import annotations

from typing import Any

from ..registry import ENCODERS
from .base import CONTEXT_KEY, DEVICE, Config, Format, component, compose
from .classification import classifier
from .conditions import COLUMNS, TABLE
from .conditions import tell_condition as tell_context
from .handlers import inference_handlers, load_weights
from .inference import TRAINED, TRAINED_NETWORK, evaluation_components, evaluation_settings, inference_evaluator
from .training import case_dataset, folders, imports, training_settings
from .transforms import load_images, plain_tensors, resize, to_unit_range, unit_range

FORMAT = Format("image", "magnitude", ("image",), (-1, 1), (-1, 1), patches=False)
IMAGE_SHAPE = "$(@in_channels, *monai.utils.ensure_tuple_rep(@image_size, @spatial_dims))"


def generation_settings(name: str) -> Config:
    """The settings of a training on images of values in [-1, 1] and one size."""
    return {
        **training_settings(name, {"num_classes": None}),
        "image_size": [32, 32],
        "batch_size": 16,
        "intensity_range": None,
        "augmentation": {"flip": 0.0},
        **TABLE,
        "condition_key": CONTEXT_KEY,
    }


def generation_evaluation_settings(sample_shape: str = IMAGE_SHAPE) -> Config:
    """The settings of an evaluation of samples."""
    return {
        **evaluation_settings(),
        "num_samples": 120,
        "class_label": None,
        "condition_vector": None,
        "position": None,
        "class_names": None,
        "sample_shape": sample_shape,
        "classifier_path": None,
        "classifier_classes": "$flemme_monai.utils.trained_settings(@classifier_path).get('num_classes', @num_classes)",
    }


def generation_evaluation(handlers: list[Config]) -> Config:
    """The components of an evaluation of samples: a classifier, real images, and noise in the place of images."""
    judge = classifier(ENCODERS["cnn"], "@classifier_classes")
    for part in (judge, judge["backbone"]):
        part["_disabled_"] = "$@classifier_path is None"
    return {
        **evaluation_components(handlers, data=False),
        "classifier_def": judge,
        "classifier": "$@classifier_def and flemme_monai.utils.trained_network(@classifier_def, @classifier_path, "
        "settings=dict(spatial_dims=@spatial_dims, in_channels=@in_channels, num_classes=@classifier_classes, "
        "intensity_range=@intensity_range))"
        f".to({DEVICE[1:]})",
        "real": {
            "preprocessing": compose(*load_images(), *unit_range(), resize()),
            "test": case_dataset("test", "@real#preprocessing"),
            "training": case_dataset("train", "@real#preprocessing"),
        },
        "start_preprocessing": compose(plain_tensors()),
        "validate#dataset": noise_dataset(
            "$@start_preprocessing",
            "$@condition_vector or [case['vector'] for case in @datalist['test']] if @condition_columns else None",
        ),
        "validate#postprocessing": compose(to_unit_range()),
        "validate#key_metric": None,
        "validate#additional_metrics": None,
        "validate#prepare_batch": tell_condition(),
    }


def generation_report() -> Config:
    """The report on samples: their distance to real images, and the scores of the classifier."""
    return component(
        "flemme_monai.handlers.GenerationReport",
        output_dir="@output_dir",
        real="@real#test",
        training="@real#training",
        classifier="@classifier",
        classifier_path="@classifier_path",
        class_names="@class_names",
    )


def noise_dataset(transform: str, vector: str = "@condition_vector") -> Config:
    """Noise to start from, with the class, the numbers or the position that is asked for."""
    start = component(
        "flemme_monai.diffusion.InitialNoise",
        num_samples="@num_samples",
        shape="@sample_shape",
        seed="@seed",
        num_classes="@num_classes",
        class_label="@class_label",
        position="@position",
        vector=vector,
    )
    return component("monai.data.Dataset", data=start, transform=transform)


def tell_condition() -> Config:
    """The network receives the class, the numbers or the position that is asked for."""
    return tell_context("@num_classes", "condition", "dict() if @position is None else dict(condition='slice')")


def sampling_settings(name: str, sample_shape: str = IMAGE_SHAPE) -> Config:
    """The settings of an inference that makes samples."""
    return {
        "imports": imports("monai", "flemme_monai"),
        **folders(name, "inference"),
        "trained": TRAINED,
        "dataset_dir": None,
        "spatial_dims": 2,
        "in_channels": 1,
        "num_classes": None,
        "image_size": [32, 32],
        "intensity_range": None,
        "num_samples": 16,
        **COLUMNS,
        "class_label": None,
        "condition_vector": None,
        "position": None,
        "class_names": None,
        "batch_size": 16,
        "seed": 0,
        "amp": False,
        "device": "$flemme_monai.utils.select_device('auto')",
        "sample_shape": sample_shape,
    }


def sampling_components(network_def: Config, inferer: Config, *handlers: Config, **save: Any) -> Config:
    """The components of an inference that makes samples.

    Args:
        network_def: the network.
        inferer: from noise to samples.
        handlers: further ones of the evaluator.
        save: further arguments of what writes the samples.
    """
    save_samples = component(
        "flemme_monai.handlers.SaveSamples", output_dir="@output_dir", class_names="@class_names", **save
    )
    return {
        "network_settings": {},
        "network_def": network_def,
        "network": TRAINED_NETWORK,
        "preprocessing": compose(plain_tensors()),
        "dataset": noise_dataset("@preprocessing"),
        "dataloader": component("monai.data.DataLoader", dataset="@dataset", batch_size="@batch_size", shuffle=False),
        "prepare_batch": tell_condition(),
        "inferer": inferer,
        "postprocessing": compose(to_unit_range()),
        "checkpointloader": load_weights(),
        "handlers": inference_handlers(save_samples, *handlers, name="batches"),
        "evaluator": inference_evaluator(prepare_batch="@prepare_batch"),
    }
