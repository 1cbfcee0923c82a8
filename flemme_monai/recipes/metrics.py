"""Losses and metrics."""

from __future__ import annotations

from typing import Any

from .base import MULTI_LABEL, Config, component
from .transforms import ON_OWN_GRID

FROM_BATCH = "$monai.handlers.from_engine(['pred', 'label'])"
FROM_INPUT = "$monai.handlers.from_engine(['image', 'label'])"
ALL_ARE_FOREGROUND = f"${MULTI_LABEL}"  # masks of classes that may overlap have no background
FROM_TRAINING = "$flemme_monai.handlers.pred_and_label()"


def segmentation_loss() -> Config:
    """A weighted sum of losses, by default Dice of the foreground over the batch, and cross-entropy."""
    return component("flemme_monai.losses.SegmentationLoss", terms="@loss_terms", multi_label=f"${MULTI_LABEL}")


def image_loss(**data_range: float) -> Config:
    """A weighted sum of losses between images; ``data_range=`` where their values do not lie in [0, 1]."""
    return component("flemme_monai.losses.ImageLoss", terms="@loss_terms", spatial_dims="@spatial_dims", **data_range)


def pyramid(loss: Config, **interp_mode: str) -> Config:
    """A loss of the final output and of every level; ``interp_mode=`` says how the label is brought to a level."""
    return component(
        "flemme_monai.losses.pyramid_loss", loss=loss, num_levels="$@network_def.num_levels", **interp_mode
    )


def deeply_supervised(loss: Config) -> Config:
    """A loss of the output and of every side output, in the weights of the network's paper."""
    weights = "$@network_def.level_weights"
    return component(
        "flemme_monai.losses.pyramid_loss", loss=loss, num_levels="$@network_def.num_levels", level_weights=weights
    )


def aligned(loss: str) -> Config:
    """A loss with a penalty for leaving the identity, where the network aligns its image."""
    return component(
        "flemme_monai.losses.aligned_loss",
        loss=loss,
        alignment="$getattr(@network_def, 'alignment', None)",
        weight="@stn_penalty",
    )


def overlap(**arguments: str) -> Config:
    """Dice or IoU of the foreground."""
    metric = component("flemme_monai.metrics.OverlapMetric", **arguments, include_background=ALL_ARE_FOREGROUND)
    return _metric(metric, FROM_BATCH)


def training_dice() -> Config:
    """Dice of the crops of an epoch's training."""
    metric = component(
        "flemme_monai.metrics.OverlapMetric",
        empty_class="@empty_class",
        include_background=ALL_ARE_FOREGROUND,
        num_classes=f"$None if {MULTI_LABEL} else @num_classes",
    )
    masks = f"flemme_monai.handlers.pred_and_label(threshold=0.0) if {MULTI_LABEL}"
    return _metric(metric, f"${masks} else flemme_monai.handlers.pred_and_label(argmax=True)")


def absent_class(unit: str) -> Config:
    """The predicted volume of absent classes."""
    metric = component("flemme_monai.metrics.AbsentClassVolume", unit=unit, include_background=ALL_ARE_FOREGROUND)
    return _metric(metric, FROM_BATCH)


def confusion(name: str) -> Config:
    """A metric of the confusion matrix by its name."""
    return component(
        "monai.handlers.ConfusionMatrix",
        include_background=ALL_ARE_FOREGROUND,
        metric_name=name,
        compute_sample=True,
        output_transform=FROM_BATCH,
    )


def surface(name: str, **arguments: Any) -> Config:
    """A metric of distances between surfaces, by its class's name."""
    metric = component(f"flemme_monai.metrics.{name}", include_background=ALL_ARE_FOREGROUND, **arguments)
    return _metric(metric, FROM_BATCH)


def binary_cross_entropy() -> Config:
    """Cross-entropy of the network's output, where classes have masks of their own, on the labels' grid."""
    disabled = {"_disabled_": f"$not {MULTI_LABEL} or bool(@evaluate_folder) or not ({ON_OWN_GRID})"}
    metric = component("flemme_monai.metrics.BinaryCrossEntropy")
    return component("flemme_monai.handlers.LogitMetric", **disabled, metric_fn=metric)


def optional_overlap(name: str, disabled: str, *keys: str) -> Config:
    """A further metric of segmentations by its class's name, where it is asked for.

    Args:
        name: of the class.
        disabled: whether it is not, an expression.
        keys: of the prediction and the label; those of label maps by default.
    """
    switch = {"_disabled_": f"${disabled}"}
    metric = component(f"flemme_monai.metrics.{name}", **switch, include_background=ALL_ARE_FOREGROUND)
    of = f"$monai.handlers.from_engine({list(keys)})" if keys else FROM_BATCH
    return {**_metric(metric, of), **switch}


def time_saved(**total: bool) -> Config:
    """Minutes saved, where classes have names and minutes; ``total=`` sums them over the classes."""
    disabled = {"_disabled_": "$not flemme_monai.metrics.minutes_of(@names, @time_saved)"}
    metric = component(  # what is inside of a component that is disabled is built all the same
        "flemme_monai.metrics.TimeSaved",
        **disabled,
        class_names="@names",
        table="@time_saved",
        absent="@time_absent",
        include_background=ALL_ARE_FOREGROUND,
        **total,
    )
    return {**_metric(metric, FROM_BATCH), **disabled}


def psnr(max_val: float, output_transform: str = FROM_BATCH, **disabled: str) -> Config:
    """Peak signal-to-noise ratio."""
    return component(
        "monai.handlers.PeakSignalToNoiseRatio", **disabled, max_val=max_val, output_transform=output_transform
    )


def ssim(data_range: float, output_transform: str = FROM_BATCH, **disabled: str) -> Config:
    """Structural similarity."""
    metric = component("flemme_monai.metrics.StructuralSimilarity", spatial_dims="@spatial_dims", data_range=data_range)
    return component(
        "monai.handlers.IgniteMetricHandler", **disabled, metric_fn=metric, output_transform=output_transform
    )


def mean_absolute_error() -> Config:
    """Mean absolute difference."""
    return component("monai.handlers.MeanAbsoluteError", output_transform=FROM_BATCH)


def reconstruction_metrics() -> Config:
    """Structural similarity, and what the degraded image itself, or the given input, reaches."""
    whole = {"_disabled_": "$@degradation in ('none', 'given')"}
    alone = {"_disabled_": "$@degradation != 'given' or @in_channels != @out_channels"}
    return {
        "ssim": ssim(1.0),
        "zero_filled_psnr": psnr(1.0, FROM_INPUT, **whole),
        "zero_filled_ssim": ssim(1.0, FROM_INPUT, **whole),
        "input_psnr": psnr(1.0, FROM_INPUT, **alone),
        "input_ssim": ssim(1.0, FROM_INPUT, **alone),
    }


def _metric(metric: Config, output_transform: str) -> Config:
    return component("monai.handlers.IgniteMetricHandler", metric_fn=metric, output_transform=output_transform)
