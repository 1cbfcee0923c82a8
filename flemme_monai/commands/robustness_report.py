"""The Dice of corrupted images as a table and as curves, and what the images look like."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..transforms.corruptions import CORRUPTIONS, Corruptd
from ..visualize import captioned_rows, plain_image, sample_tile
from .measure import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = "clean"
NORMAL_95 = 1.96  # standard errors of a mean
Means = Mapping[tuple[str, str, float], tuple[float, float]]  # by bundle, corruption, strength: see summary


class Row(NamedTuple):
    """The Dice of one case."""

    bundle: str
    corruption: str
    strength: float
    case: str
    dice: float


def summary(rows: Sequence[Row]) -> dict[tuple[str, str, float], tuple[float, float]]:
    """Mean Dice over cases, and half of its 95% interval, by bundle, corruption and strength."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for row in rows:
        values = found.setdefault(row[:3], [])
        if not math.isnan(row.dice):
            values.append(row.dice)
    return {key: (statistics.fmean(v) if v else math.nan, _half_interval(v)) for key, v in found.items()}


def _half_interval(values: Sequence[float]) -> float:
    return NORMAL_95 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan


def table(means: Means) -> str:
    """Mean Dice in Markdown: a row for each corruption and bundle, a column for each strength.

    Args:
        means: see :func:`summary`.
    """
    lines = []
    for corruption in dict.fromkeys(key[1] for key in means if key[1] != CLEAN):
        for bundle in dict.fromkeys(key[0] for key in means):
            strengths = {s: mean for (b, c, s), (mean, _) in means.items() if (b, c) == (bundle, corruption)}
            lines.append(
                {
                    "corruption": corruption,
                    "bundle": bundle,
                    CLEAN: f"{means[bundle, CLEAN, 0.0][0]:.3f}",
                    **{f"{strength:g}": f"{mean:.3f}" for strength, mean in strengths.items()},
                    "mean": f"{statistics.fmean(strengths.values()):.3f}",
                }
            )
    return markdown_table(lines)


def curves(means: Means) -> Figure:
    """Dice over strength with its 95% interval over cases, a plot for each corruption, a line for each bundle.

    Args:
        means: see :func:`summary`.
    """
    from matplotlib.figure import Figure

    corruptions = list(dict.fromkeys(key[1] for key in means if key[1] != CLEAN))
    columns = min(4, len(corruptions))
    lines = -(-len(corruptions) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.7 * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for name, one in zip(corruptions, axes.flat):
        for bundle in dict.fromkeys(key[0] for key in means):
            points = [(0.0, *means[bundle, CLEAN, 0.0])]
            points += [(s, *found) for (b, c, s), found in means.items() if (b, c) == (bundle, name)]
            strengths, dice, half = (np.array(values) for values in zip(*points, strict=True))
            one.plot(strengths, dice, marker=".", label=bundle)
            one.fill_between(strengths, dice - half, dice + half, alpha=0.15)
        one.set_title(name.replace("_", " "), fontsize=10)
        one.set(xlabel="strength", xlim=(0, 1))
        one.grid(alpha=0.3)
    for one in axes[:, 0]:
        one.set_ylabel("Dice")
    for one in axes.flat[len(corruptions) :]:
        one.remove()
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def pictures(item: dict[str, Any], corruptions: Sequence[str], strengths: Sequence[float], seed: int) -> np.ndarray:
    """A case under each corruption: a row of images, in the values of the clean one, and one of labels that move.

    Args:
        item: the case.
        corruptions, strengths, seed: as of :func:`evaluate`.

    Returns:
        (H, W, 3), uint8.
    """
    low, high = (float(value) for value in torch.as_tensor(item["image"]).aminmax())
    most = max(1.0, float(item["label"].max()))
    rows = []
    for name in corruptions:
        shown = [item, *(Corruptd(name, strength, seed)(item) for strength in strengths)]
        caption = f"{name.replace('_', ' ')}: {', '.join(f'{value:g}' for value in (0.0, *strengths))}"
        rows.append((caption, [sample_tile((plain_image(one["image"]) - low) / (high - low)) for one in shown]))
        if CORRUPTIONS[name].moves:
            rows.append(("", [sample_tile(plain_image(one["label"]) / most) for one in shown]))
    return captioned_rows(rows)
