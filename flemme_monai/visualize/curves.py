"""Curves of a training's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_curves(rows: Sequence[dict[str, float]], names: Sequence[str]) -> Figure:
    """One small plot per number over the epochs; ``monai.handlers.MetricLogger`` keeps such numbers and draws none.

    Args:
        rows: numbers by name, "epoch" among them; an epoch may lack others.
        names: the numbers to show.
    """
    from matplotlib.figure import Figure

    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * lines), layout="constrained")
    for name, axes in zip(names, figure.subplots(lines, columns, squeeze=False).flat, strict=False):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else None)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(names) :]:
        axes.remove()
    return figure
