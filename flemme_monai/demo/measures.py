"""Numbers of a prediction: sizes and Dice of classes, and how near a reconstruction comes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ..metrics import OverlapMetric, TimeSaved, minutes_of
from .views import Scene

Table = tuple[list[str], list[list[str]]]


def class_masks(labels: torch.Tensor, classes: Iterable[int]) -> dict[int, np.ndarray]:
    """Where each class is (*S).

    Args:
        labels: a label map (1, *S), or a mask of each class (C, *S).
        classes: the classes, from 1.
    """
    array = np.asarray(torch.as_tensor(labels).cpu())
    if len(array) > 1:
        return {label: array[label - 1] > 0 for label in classes}
    return {label: array[0] == label for label in classes}


def class_dice(found: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray]) -> dict[int, float]:
    """The Dice of each class as evaluations report it: of one that is absent 1 where none is found, else 0."""
    metric = OverlapMetric("dice", include_background=True)
    metric(_channels(found), _channels(truth))
    return dict(zip(found, metric.get_buffer()[0].tolist(), strict=True))


def class_minutes(
    found: Mapping[int, np.ndarray],
    truth: Mapping[int, np.ndarray],
    names: Mapping[int, str],
    table: Mapping[str, Sequence[float]] | None = None,
    absent: str = "ignore",
) -> dict[int, float] | None:
    """The minutes that each class saves whoever draws it, as evaluations report them; None where no class has any.

    Args:
        found: where each class is (*S).
        truth: the same, of the target.
        names: of the classes.
        table: as of :func:`flemme_monai.metrics.minutes_of`.
        absent: as of :class:`flemme_monai.metrics.TimeSaved`.

    Returns:
        Minutes by class, NaN of those that have none.
    """
    if not minutes_of(list(names.values()), table):
        return None
    metric = TimeSaved(list(names.values()), table, absent, include_background=True)
    metric(_channels(found), _channels(truth))
    return dict(zip(found, metric.get_buffer()[0].tolist(), strict=True))


def _channels(masks: Mapping[int, np.ndarray]) -> torch.Tensor:
    """Masks by class as (1, C, *S)."""
    return torch.as_tensor(np.stack(list(masks.values())))[None]


def class_table(
    scene: Scene,
    found: Mapping[int, np.ndarray],
    truth: Mapping[int, np.ndarray] | None,
    dice: Mapping[int, float] | None,
    minutes: Mapping[int, float] | None = None,
) -> Table:
    """A row per class: what is found of it, in ml of a volume, and how well."""
    unit, scale = ("ml", math.prod(scene.spacing) / 1000) if scene.is_volume else ("pixels", 1)
    header = ["class", f"found, {unit}"] + ([f"target, {unit}"] if truth else []) + (["Dice"] if dice else [])
    header += ["minutes saved"] if minutes else []

    def size(mask: np.ndarray) -> str:
        return f"{mask.sum() * scale:.3f}" if scene.is_volume else str(int(mask.sum()))

    rows = []
    for label, mask in found.items():
        row = [scene.names[label], size(mask)]
        row += [size(truth[label])] if truth else []
        row += [f"{dice[label]:.4f}"] if dice else []
        row += ["" if math.isnan(minutes[label]) else f"{minutes[label]:+g}"] if minutes else []
        rows.append(row)
    return header, rows


def psnr(image: torch.Tensor, target: torch.Tensor) -> str:
    """The peak signal-to-noise ratio of images (C, *S) in 0..1."""
    from monai.metrics import PSNRMetric

    return f"{float(torch.as_tensor(PSNRMetric(1.0)(_plain(image), _plain(target)))):.2f} dB"


def image_scores(image: torch.Tensor, target: torch.Tensor) -> dict[str, str]:
    """PSNR, SSIM where the images have room for its window, and the mean absolute error, of images (C, *S) in 0..1."""
    from monai.metrics import SSIMMetric

    scores = {"PSNR": psnr(image, target)}
    flat = image.shape[-1] == 1 and image.ndim == 4
    pair = [_plain(array)[..., 0] if flat else _plain(array) for array in (image, target)]
    if min(pair[0].shape[2:]) >= 11:  # the metric's window
        scores["SSIM"] = f"{float(torch.as_tensor(SSIMMetric(pair[0].ndim - 2)(*pair))):.4f}"
    scores["mean error"] = f"{(pair[0] - pair[1]).abs().mean().item():.4f}"
    return scores


def _plain(image: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.asarray(image), dtype=torch.float32)[None]
