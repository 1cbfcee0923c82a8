"""The figures of a comparison: quality over costs, differences, learning curves, cases, ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io import write_figure
from ..registry import CONNECTIONS, ENCODERS, FAMILIES
from .analysis import ALL, DEVIATION, differences, ranks, summary
from .panel import write_panel
from .plan import Run
from .results import LOWER_IS_BETTER, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {family: f"C{i}" for i, family in enumerate(FAMILIES)}
OTHER = "0.35"  # of networks from elsewhere
MARKERS = dict(zip(CONNECTIONS, "osD"))
COSTS = {
    "step ms": "training step in ms",
    "inference ms": "inference of an image in ms",
    "step MiB": "memory of a step in MiB",
}
MOST_LABELLED = 16
ROW = 0.34  # inches


def write_figures(results: Results, folder: Path, runs: Sequence[Run]) -> list[str]:
    """Draw what there is to draw of each data set.

    Args:
        results: of the comparison.
        folder: of the figures.
        runs: whose predictions are shown.

    Returns:
        The names of the files.
    """
    drawings: dict[str, Callable[[Results, str], Figure | None]] = {
        "comparison": quality_over_costs,
        "differences": paired_differences,
        "curves": learning_curves,
        "cases": case_distributions,
        "ranks": critical_difference_diagram,
    }
    written = []
    for data in results.data:
        end = f"_{data}" if len(results.data) > 1 else ""
        for name, draw in drawings.items():
            figure = draw(results, data)
            if figure is not None:
                write_figure(folder / f"{name}{end}.png", figure)
                written.append(f"{name}{end}.png")
        path = folder / f"panel{end}.png"
        if write_panel([run for run in runs if run.data == data], results, path):
            written.append(path.name)
    return written


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style(results: Results, bundle: str) -> tuple[str, str]:
    """Color and marker of a bundle: a color a family, a marker a connection; a variant has its encoder's."""
    known = ENCODERS.get(results.about["backbones"][bundle])
    return (OTHER, "^") if known is None else (COLORS[known.family], MARKERS[known.connection])


def quality_over_costs(results: Results, data: str) -> Figure | None:
    """The first metric over the time of a training step, of an image, and over memory; filled where hierarchical.

    Among many encoders those are named than which none is cheaper and better.
    """
    metric = results.metrics[0]
    rows = [row for row in summary(results) if row.get("data", "") == data and row[metric] is not None]
    rows = [row for row in rows if all(row.get(name) is not None for name in COSTS)]
    if not rows:
        return None
    encoders: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        encoders.setdefault(results.about["encoders"][row["bundle"]], []).append(row)
    crowded = len(encoders) > MOST_LABELLED
    figure = _figure(4.2 * len(COSTS) + 1.6, 6 if crowded else 4.4)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    hierarchical = results.about["hierarchical"]
    for axes, cost in zip(panels, COSTS):
        named = best_at_their_cost(rows, metric, cost) if crowded else rows
        for encoder, found in encoders.items():
            color, marker = style(results, found[0]["bundle"])
            axes.plot([row[cost] for row in found], [row[metric] for row in found], color=color, linewidth=0.8)
            for row in found:
                face = color if row["bundle"] in hierarchical else "white"
                error = row[metric + DEVIATION]
                axes.errorbar(
                    row[cost], row[metric], yerr=error, fmt=marker, color=color, mfc=face, ms=7, elinewidth=0.8
                )
            best = max(found, key=lambda row: row[metric])
            if best in named:
                at = (best[cost], best[metric])
                turned = {"rotation": 40, "rotation_mode": "anchor"} if crowded else {}
                axes.annotate(encoder, at, xytext=(5, 4), textcoords="offset points", fontsize=7, **turned)
        if crowded:
            axes.margins(y=0.12)
            axes.plot([row[cost] for row in named], [row[metric] for row in named], color=OTHER, lw=0.8, ls=":")
            axes.set(xlabel=COSTS[cost], xscale="log")
        else:
            axes.set(xlabel=COSTS[cost], xlim=(0, None))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"test {metric.replace('_', ' ')}")
    for encoder, found in encoders.items():
        color, marker = style(results, found[0]["bundle"])
        if color != OTHER:
            panels[0].plot([], [], marker, color=color, label=encoder)
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    if hierarchical:
        figure.suptitle("filled: hierarchical", fontsize=10)
    return figure


def best_at_their_cost(rows: Sequence[dict[str, Any]], metric: str, cost: str) -> list[dict[str, Any]]:
    """The rows than which no other is as cheap and better, from the cheapest on: their Pareto front."""
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row[metric])):
        if not front or row[metric] > front[-1][metric]:
            front.append(row)
    return front


def paired_differences(results: Results, data: str) -> Figure | None:
    """Each difference with its interval, a panel a metric; black where it is significant."""
    found = {
        metric: differences(results, data, metric, results.about["baseline"], results.about["test"])
        for metric in results.metrics
    }
    found = {metric: rows for metric, rows in found.items() if rows}
    if not found:
        return None
    labels = [row.label for row in next(iter(found.values()))]
    figure = _figure(3.3 * len(found) + 1.5, 1.4 + ROW * len(labels))
    for axes, (metric, rows) in zip(np.atleast_1d(figure.subplots(1, len(found))), found.items()):
        _forest(axes, [(row.label, *row.found.interval, row.significant) for row in rows])
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        axes.set_xlabel(f"{metric.replace('_', ' ')} ({better} is better)")
    first = next(iter(found.values()))[0]
    title = f"minus {first.other}" if first.label == first.one else "hierarchical minus plain"
    figure.suptitle(f"{title}, 95% over trainings and cases; black: significant", fontsize=10)
    return figure


def _forest(axes: Axes, rows: Sequence[tuple[str, float, float, float, bool]]) -> None:
    for i, (label, mean, low, high, significant) in enumerate(rows):
        color = "black" if significant else "0.6"
        axes.plot([low, high], [i, i], color=color, linewidth=1.4)
        axes.plot(mean, i, "D" if label == ALL else "o", color=color, markersize=6)
    axes.axvline(0, color="C3", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(alpha=0.3, axis="x")
    axes.tick_params(axis="x", labelsize=7)


def learning_curves(results: Results, data: str) -> Figure | None:
    """The first metric of validation over epochs: mean and range over runs, a panel an encoder, dashed where plain."""
    metric = results.metrics[0]
    encoders: dict[str, list[str]] = {}
    for bundle in results.bundles(data):
        encoders.setdefault(results.about["encoders"][bundle], []).append(bundle)
    curves = {bundle: curve for bundle in results.bundles(data) if (curve := _curve(results, data, bundle, metric))}
    shown = {encoder: names for encoder, names in encoders.items() if any(name in curves for name in names)}
    if not shown:
        return None
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure = _figure(3.2 * columns, 2.5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    hierarchical = results.about["hierarchical"]
    for axes, (encoder, names) in zip(panels.flat, shown.items()):
        for name in names:
            if name in curves:
                epochs, low, mean, high = zip(*curves[name])
                line = "-" if name in hierarchical or not hierarchical else "--"
                (drawn,) = axes.plot(epochs, mean, line, label=name, marker="." if len(epochs) == 1 else None)
                axes.fill_between(epochs, low, high, alpha=0.15, color=drawn.get_color())
        axes.set_title(encoder, fontsize=9)
        axes.legend(fontsize=7, frameon=False, loc="lower right")
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(f"validation {metric.replace('_', ' ')}", fontsize=9)
    return figure


def _curve(results: Results, data: str, bundle: str, metric: str) -> list[tuple[float, float, float, float]]:
    values: dict[float, list[float]] = {}
    for row in results.curves:
        if (row["data"], row["bundle"]) == (data, bundle) and row.get(metric) is not None:
            values.setdefault(row["epoch"], []).append(row[metric])
    return [(epoch, min(found), float(np.mean(found)), max(found)) for epoch, found in sorted(values.items())]


def case_distributions(results: Results, data: str) -> Figure | None:
    """The first metric of all cases of each bundle, each case the mean over its seeds: box and points."""
    metric = results.metrics[0]
    values = {}
    for bundle in results.bundles(data):
        matrix = results.matrix(data, [bundle], metric)[0]  # (seeds, cases)
        kept = matrix[:, np.isfinite(matrix).any(0)]
        if kept.size:
            values[bundle] = np.nanmean(kept, 0)
    if not values:
        return None
    figure = _figure(7.5, 1.2 + ROW * len(values))
    axes = figure.subplots()
    places = range(len(values))
    axes.boxplot([*values.values()], positions=[*places], vert=False, widths=0.6, showfliers=False)
    random = np.random.default_rng(0)
    for place, (bundle, found) in zip(places, values.items()):
        height = place + random.uniform(-0.2, 0.2, len(found))
        axes.plot(found, height, ".", color=style(results, bundle)[0], markersize=4, alpha=0.6)
    axes.set_yticks(places, values, fontsize=8)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlabel(f"test {metric.replace('_', ' ')} of a case")
    axes.grid(alpha=0.3, axis="x")
    return figure


def critical_difference_diagram(results: Results, data: str) -> Figure | None:
    """Mean ranks over cases on a line; what a bar joins does not differ (Demsar 2006)."""
    from ..statistics import cliques

    found = ranks(results, data, results.metrics[0])
    if found is None or len(found[0]) < 3:
        return None
    names, comparison = found
    groups = cliques(comparison.ranks, comparison.critical)
    half = (len(names) + 1) // 2
    step, below = 0.5, 0.35 * (len(groups) + 1)
    figure = _figure(8, 1.3 + 0.24 * half + 0.12 * len(groups))
    axes = figure.subplots()
    left, right = 1, len(names)
    axes.plot([left, right], [0, 0], color="black")
    for rank in range(left, right + 1):
        axes.plot([rank, rank], [0, 0.15], color="black")
        axes.text(rank, 0.25, str(rank), ha="center", fontsize=8)
    margin = 0.06 * (right - left)
    for i, (name, rank) in enumerate(zip(names, comparison.ranks)):
        first = i < half
        height = -below - step * (i if first else len(names) - 1 - i)
        end = left - margin if first else right + margin
        axes.plot([rank, rank, end], [0, height, height], color="black", linewidth=0.8)
        text = f"{name} {rank:.2f}" if first else f"{rank:.2f} {name}"
        axes.text(end, height, f" {text} ", ha="right" if first else "left", va="center", fontsize=8)
    for i, (start, last) in enumerate(groups):
        height = -0.3 * (i + 1)
        axes.plot(
            [comparison.ranks[start] - 0.03, comparison.ranks[last] + 0.03], [height] * 2, color="C3", linewidth=3
        )
    axes.plot([left, left + comparison.critical], [0.95, 0.95], color="C3", linewidth=2)
    axes.text(left, 1.1, f"critical difference {comparison.critical:.2f}", fontsize=8, color="C3")
    axes.set(xlim=(left - 0.35 * (right - left), right + 0.35 * (right - left)), ylim=(-below - step * half, 1.8))
    axes.axis("off")
    figure.suptitle(f"mean ranks by {results.metrics[0]} over {comparison.cases} cases; 1 is the best", fontsize=9)
    return figure
