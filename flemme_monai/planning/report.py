"""A report of a data set and its plan: tables, histograms, and the largest case beside the patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .fingerprint import DataFingerprint
from .picture import AXES, class_volumes, draw
from .plan import Plan, reason_lines

REPORT, PICTURE = "report.md", "report.png"


def write_report(plan: Plan, data: DataFingerprint, folder: Path) -> Path:
    """Write ``report.md`` and ``report.png`` into a folder.

    Returns:
        The path of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw(plan, data, folder / PICTURE)
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
    for label, counts in class_volumes(data).items():
        share = sum(counts) / total
        lines.append(f"| {data.name(label)} | {len(counts)} | {np.median(counts or [0]):.0f} | {share:.3%} |")
    lines += ["", "| setting | value | why |", "|---|---|---|", *reason_lines(plan)]
    lines += ["", "## Look at", "", *(f"- {warning}" for warning in plan.warnings)] if plan.warnings else []
    return "\n".join(lines) + "\n"
