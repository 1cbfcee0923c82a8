"""``interpolate.json``, over ``inference.json``: from one image to another through the latents between them."""

from __future__ import annotations

from typing import Any

from .base import Config, Workflow, component, compose, renamed
from .conditions import context_keys
from .handlers import inference_handlers
from .training import folders
from .transforms import load_images, resize, to_symmetric_range, unit_range, with_meta

BETWEEN = "dict(other='other', weight='weight')"
OF_CLASS = context_keys("@num_classes")


def interpolation_settings(ends: list[int] | None) -> Config:
    """The settings; ``ends`` are the two ends: seeds, or image files."""
    return {
        **renamed("interpolate_between", "between", ends),
        "num_samples": 9,
        "class_label": None,
        "condition_vector": None,
        "class_names": None,
        "output_dir": folders("", "interpolate")["output_dir"],
    }


def interpolation_handlers(*more: Config) -> list[Config | str]:
    """The evaluator's handlers, which write the images in a row."""
    save = component(
        "flemme_monai.handlers.SaveInterpolation",
        output_dir="@output_dir",
        class_names="@class_names",
        square="$len(monai.utils.ensure_tuple(@interpolate_between)) == 4",
    )
    return inference_handlers(save, *more, name="batches")


def between_images() -> Workflow:
    """Between two images of an autoencoder."""
    return Workflow(
        settings=interpolation_settings(None),
        components={
            "handlers": interpolation_handlers(),
            "dataset": _images(
                compose("@preprocessing", resize()), {"num_classes": "@num_classes", "vector": "@condition_vector"}
            ),
            "inferer": component("flemme_monai.inferers.InterpolationInferer"),
            "evaluator#prepare_batch#extra_keys": f"${BETWEEN} | ({OF_CLASS})",
            "postprocessing": compose(with_meta("pred")),
        },
    )


def between_seeds_or_images(
    extra_keys: str, handlers: list[Config | str], classes: Config, **autoencoder: str
) -> Workflow:
    """Between two seeds or two images of a network that makes images from latents.

    Args:
        extra_keys: what the network receives of a batch beside the images.
        handlers: the evaluator's handlers.
        classes: settings of the classes of the images.
        autoencoder: ``autoencoder=``, the one of the latents where it is not the network.
    """
    image = compose(*load_images(), *unit_range(), to_symmetric_range(), resize())
    return Workflow(
        settings={
            "neighbour_slices": "$@trained.get('neighbour_slices', 0)",
            **interpolation_settings([0, 1]),
            "between_images": "$all(isinstance(end, str) for end in monai.utils.ensure_tuple(@interpolate_between))",
        },
        components={
            "handlers": handlers,
            "way": {
                "seeds": component(
                    "flemme_monai.diffusion.SeedInterpolation",
                    _disabled_="@between_images",
                    seeds="@interpolate_between",
                    num_samples="@num_samples",
                    shape="@sample_shape",
                    num_classes="@num_classes",
                    class_label="@class_label",
                    vector="@condition_vector",
                ),
                "images": _images(image, classes, _disabled_="$not @between_images"),
                "inferer": component("flemme_monai.inferers.InterpolationInferer", **autoencoder),
            },
            "dataset#data": "$@way#seeds or @way#images",
            "prepare_batch#extra_keys": extra_keys,
            "evaluator#inferer": "$@way#inferer if @between_images else @inferer",
        },
    )


def _images(transform: Config, classes: Config, **disabled: Any) -> Config:
    return component(
        "flemme_monai.diffusion.ImageInterpolation",
        **disabled,
        images="@interpolate_between",
        num_samples="@num_samples",
        transform=transform,
        spatial_dims="@spatial_dims",
        **classes,
        class_label="@class_label",
    )
