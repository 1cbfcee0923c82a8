"""A report of a data set and its plan: tables, histograms, and the largest case beside the patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..io import write_figure
from .fingerprint import DataFingerprint
from .plan import Plan, reason_lines

REPORT, PICTURE = "report.md", "report.png"
AXES = "xyz"


def write_report(plan: Plan, data: DataFingerprint, folder: Path) -> Path:
    """Write ``report.md`` and ``report.png`` into a folder.

    Returns:
        The path of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _picture(plan, data, folder / PICTURE)
    path = folder / REPORT
    path.write_text(report_text(plan, data), encoding="utf-8")
    return path


def report_text(plan: Plan, data: DataFingerprint) -> str:
    """The report, in Markdown."""
    dims = data.spatial_dims
    rows = [("voxels", data.shapes), ("mm of a voxel", data.spacings), ("mm", data.shapes * data.spacings)]
    lines = [
        f"# Plan of {data.folder.name} for {plan.pair}",
        "",
        f"{len(data.cases)} cases, {data.modality}, {data.cases[0].channels} channel(s). {plan.proposal}.",
        "",
        f"![Spacings, sizes, intensities, classes, patch]({PICTURE})",
        "",
        "| | " + " | ".join(f"{AXES[axis]}: least, median, most" for axis in range(dims)) + " |",
        "|---|" + "---|" * dims,
    ]
    for name, values in rows:
        cells = [
            ", ".join(f"{v:g}" for v in np.quantile(values[:, axis], [0, 0.5, 1]).round(3)) for axis in range(dims)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| class | cases | median voxels | share of all voxels |", "|---|---|---|---|"]
    total = sum(int(np.prod(case.shape)) for case in data.cases)
    for label, counts in _volumes(data).items():
        share = sum(counts) / total
        name = data.class_names.get(label, f"class {label}")
        lines.append(f"| {label} {name} | {len(counts)} | {np.median(counts or [0]):.0f} | {share:.3%} |")
    lines += ["", "| setting | value | why |", "|---|---|---|", *reason_lines(plan)]
    lines += ["", "## Look at", "", *(f"- {warning}" for warning in plan.warnings)] if plan.warnings else []
    return "\n".join(lines) + "\n"


def _volumes(data: DataFingerprint) -> dict[int, list[int]]:
    """Voxels of each class in the cases that have it."""
    found: dict[int, list[int]] = {label: [] for label in range(1, data.num_classes)}
    for case in data.cases:
        for label, count in case.labels.items():
            if label:
                found[label].append(count)
    return found


def _picture(plan: Plan, data: DataFingerprint, path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(15, 8), layout="constrained")
    spacings, sizes, values, classes, largest, borders = figure.subplots(2, 3).flat
    spacings.hist(data.spacings, bins=30, label=list(AXES[: data.spatial_dims]))
    sizes.hist(data.shapes, bins=30, label=list(AXES[: data.spatial_dims]))
    spacings.set(title="spacing", xlabel="mm", ylabel="cases")
    sizes.set(title="size", xlabel="voxels", ylabel="cases")
    values.hist(data.foreground(), bins=100)
    for edge in plan.settings["intensity_range"] or ():
        values.axvline(edge, color="black", linestyle="--")
    values.set(title="values inside the foreground; dashed: clipped", ylabel="quantiles of cases")
    volumes = {label: counts for label, counts in _volumes(data).items() if counts}
    for row, counts in enumerate(volumes.values()):
        classes.plot(counts, [row] * len(counts), "|", color="black", alpha=0.5)
    classes.set_yticks(range(len(volumes)), [data.class_names[label] for label in volumes])
    classes.set(title="voxels of a class, a mark per case", xscale="log")
    classes.tick_params(axis="y", labelsize=10 if len(volumes) < 20 else 5)
    spacing = plan.settings.get("spacing") or np.median(data.spacings, axis=0).tolist()
    case = max(data.cases, key=lambda case: np.prod(np.multiply(case.shape, case.spacing)))
    extent = np.multiply(case.shape, case.spacing)
    patch = np.multiply(plan.settings["image_size"], spacing[: len(plan.settings["image_size"])])
    for panel, (a, b) in ((largest, (0, 1)), (borders, (0, data.spatial_dims - 1))):
        panel.add_patch(Rectangle((0, 0), extent[a], extent[b], fill=False, label=f"largest case, {case.case}"))
        if max(a, b) < len(patch):
            panel.add_patch(Rectangle((0, 0), patch[a], patch[b], alpha=0.4, label="patch"))
        panel.set(xlabel=f"{AXES[a]}, mm", ylabel=f"{AXES[b]}, mm", aspect="equal")
        panel.autoscale_view()
        panel.legend()
    spacings.legend()
    sizes.legend()
    write_figure(path, figure)
