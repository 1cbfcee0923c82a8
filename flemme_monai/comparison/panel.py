"""A picture of the same cases with what every bundle makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io import write_png
from ..visualize import Tile, example_grid, overlay_labels, upright
from ..visualize.examples import repeated
from ..visualize.slices import axial_slice
from .plan import Run
from .results import Results
from .runs import EXAMPLES

TILE = 160
COLUMNS = 6  # pictures beside each other, the label among them


def write_panel(runs: Sequence[Run], results: Results, path: Path) -> bool:
    """Draw the cases that the runs of the first seed and fold have kept.

    Args:
        runs: of one data set.
        results: of the comparison, which says what the task is.
        path: of the picture.

    Returns:
        Whether there was anything to draw.
    """
    kept = [run for run in runs if (run.folder / EXAMPLES).is_file()]
    if not kept:
        return False
    kept = [run for run in kept if (run.seed, run.fold) == (kept[0].seed, kept[0].fold)]
    files = {run.entry.name: dict(np.load(run.folder / EXAMPLES)) for run in kept}
    names = files[kept[0].entry.name]["names"].tolist()
    files = {bundle: file for bundle, file in files.items() if file["names"].tolist() == names}
    rows = [row for i in range(len(names)) for row in case_rows(i, names[i], files, results.about["task"])]
    note = f"test cases, seed {kept[0].seed}" + ("; label in white" if results.about["task"] == "segmentation" else "")
    write_png(path, example_grid(note, rows, TILE))
    return True


def case_rows(i: int, name: str, files: dict[str, dict[str, np.ndarray]], task: str) -> list[list[Tile]]:
    """A case: image and label, then a prediction of each bundle, in rows.

    Args:
        i: number of the case.
        name: of the case.
        files: what the runs have kept, by bundle.
        task: ``segmentation`` or ``reconstruction``.
    """
    first = next(iter(files.values()))
    image, label, volume = first[f"image_{i}"], first[f"label_{i}"], bool(first["volumes"][i])
    if task == "segmentation":
        picture = upright(image, volume)
        truth = repeated(axial_slice(label[0], 0, volume))
        tiles = [Tile(picture, name), Tile(overlay_labels(picture, truth), "label")]
        for bundle, file in files.items():
            labels = repeated(axial_slice(file[f"pred_{i}"][0], 0, volume))
            tiles.append(Tile(overlay_labels(picture, labels, truth), bundle))
    else:
        low, high = (float(bound) for bound in np.percentile(label[:1], (1, 99.5)))
        shown = {name: image, "target": label, **{bundle: file[f"pred_{i}"] for bundle, file in files.items()}}
        tiles = [Tile(upright(values, volume, low, high), caption) for caption, values in shown.items()]
    return [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
