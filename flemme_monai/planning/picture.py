"""Pictures of a data set: spacings, sizes, values, classes, and the largest case with a patch on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.reading import read_image
from ..io import write_figure
from .fingerprint import DataFingerprint
from .plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = "xyz"
MANY = 20  # classes, whose names are small


def class_volumes(data: DataFingerprint) -> dict[int, list[int]]:
    """Voxels of each class in the cases that have it."""
    found: dict[int, list[int]] = {label: [] for label in range(1, data.highest_label + 1)}
    for case in data.cases:
        for label, count in case.labels.items():
            if label:
                found[label].append(count)
    return found


def draw(plan: Plan, data: DataFingerprint, path: Path) -> None:
    """Write the pictures of a plan's report as one PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    spacings, sizes, values, classes, across, along = figure.subplots(2, 3).flat
    _histogram(spacings, data.spacings, "spacing", "mm")
    _histogram(sizes, data.shapes, "size", "voxels")
    _values(values, plan, data)
    _classes(classes, data)
    _largest(across, along, plan, data)
    write_figure(path, figure)


def _histogram(panel: Axes, columns: np.ndarray, title: str, unit: str) -> None:
    """Cases over lengths (N, dims)."""
    low, high = columns.min(), columns.max()
    edges = np.linspace(low, high, 21) if high > low else np.linspace(0.5, 1.5, 21) * low
    panel.hist(columns, bins=list(edges), label=list(AXES[: columns.shape[1]]))
    panel.set(title=title, xlabel=unit, ylabel="cases")
    panel.legend()


def _values(panel: Axes, plan: Plan, data: DataFingerprint) -> None:
    """Of CT the values of all cases, where they are clipped; of others, whose scales differ, each case's range."""
    clipped = plan.settings["intensity_range"]
    if clipped:
        panel.hist(data.foreground(), bins=100, color="0.5")
        for edge in clipped:
            panel.axvline(edge, color="C3", linestyle="--")
        panel.set(title="values inside the foreground; dashed: clipped there", xlabel="value", yticks=[])
        return
    spans = np.array([np.percentile(case.foreground, [0.5, 50, 99.5]) for case in data.cases])  # (N, 3)
    spans = spans[np.argsort(spans[:, 1])]
    panel.vlines(range(len(spans)), spans[:, 0], spans[:, 2], color="0.6")
    panel.plot(range(len(spans)), spans[:, 1], ".", color="C0", markersize=3)
    if np.abs(spans).max() > 20 * max(np.median(np.abs(spans)), 1e-9):
        panel.set_yscale("symlog", linthresh=max(float(np.median(np.abs(spans))), 1e-9))
    panel.set(title="values inside the foreground, a bar per case", xlabel="cases", ylabel="0.5, 50 and 99.5%")


def _classes(panel: Axes, data: DataFingerprint) -> None:
    volumes = {label: counts for label, counts in class_volumes(data).items() if counts}
    for row, counts in enumerate(volumes.values()):
        panel.plot(counts, [row] * len(counts), "|", color="black", alpha=0.5)
    panel.set_yticks(range(len(volumes)), [data.name(label) for label in volumes])
    panel.tick_params(axis="y", labelsize=10 if len(volumes) < MANY else 5)
    every = [count for counts in volumes.values() for count in counts]
    if every and max(every) > 10 * min(every):
        panel.set_xscale("log")
    panel.set(title="size of a class, a mark per case", xlabel="voxels", ylim=(-0.5, max(len(volumes), 1) - 0.5))


def _largest(across: Axes, along: Axes, plan: Plan, data: DataFingerprint) -> None:
    """Two sections of the largest case, with a patch in their middle, in mm."""
    from matplotlib.patches import Rectangle

    dims, planned = data.spatial_dims, plan.settings.get("spacing")
    index = int(np.argmax([np.prod(np.multiply(case.shape, case.spacing)) for case in data.cases]))
    case = data.cases[index]
    image = read_image(data.items[index]["image"]).as_tensor().numpy()[0]  # (*S), RAS
    spacing = [own if mm is None else mm for own, mm in zip(case.spacing, planned or [None] * dims)]
    size = [*plan.settings["image_size"], *[1] * (dims - len(plan.settings["image_size"]))]
    patch, extent = np.multiply(size, spacing), np.multiply(case.shape, case.spacing)
    low, high = plan.settings["intensity_range"] or np.percentile(image, [0.5, 99.5])
    for panel, (a, b) in ((across, (0, 1)), (along, (0, 2))):
        if max(a, b) >= dims:
            panel.set_axis_off()
            continue
        section = image
        for axis in sorted({*range(dims)} - {a, b}, reverse=True):
            section = section.take(image.shape[axis] // 2, axis)
        shown = (0, extent[a], 0, extent[b])
        panel.imshow(section.T, cmap="gray", vmin=low, vmax=high, extent=shown, aspect="equal", origin="lower")
        corner = (extent[[a, b]] - patch[[a, b]]) / 2
        panel.add_patch(Rectangle(tuple(corner), *patch[[a, b]], color="C1", alpha=0.25))
        panel.add_patch(Rectangle(tuple(corner), *patch[[a, b]], color="C1", fill=False, linewidth=2))
        panel.set(xlabel=f"{AXES[a]}, mm", ylabel=f"{AXES[b]}, mm", title=f"largest case, {case.case}, and a patch")
        panel.set_xlim(min(0, corner[0]) - 1, max(extent[a], corner[0] + patch[a]) + 1)
        panel.set_ylim(min(0, corner[1]) - 1, max(extent[b], corner[1] + patch[b]) + 1)
        if dims == 2:
            panel.invert_yaxis()  # rows of a picture go down
