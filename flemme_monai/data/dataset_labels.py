"""The label maps of a data set: whether they are coloured, and what their colours or grey levels mean."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.utils import ensure_tuple

from .class_masks import ClassMasks
from .files import image_kind
from .layouts import DataSet
from .masks import check_levels, mask_colors
from .matching import Case

_logger = logging.getLogger(__name__)


def fit_labels(data_set: DataSet, num_classes: int | None) -> None:
    """Drops the labels without ``num_classes``; else gives each label the colours where the masks are coloured.

    Args:
        data_set: the data set, whose cases are changed.
        num_classes: number of classes of the label maps, background included.

    Raises:
        ValueError: If the masks' colours or levels do not fit the classes.
    """
    if num_classes is None:
        for case in data_set.cases:
            case.pop("label", None)
        return
    labelled = [case for case in data_set.cases if "label" in case]
    if any(isinstance(case["label"], ClassMasks) for case in labelled):
        _check_classes(labelled, num_classes)
        return
    masks = [path for case in labelled for path in ensure_tuple(case["label"])]
    colors = _colors(data_set.folder, masks, num_classes)
    if colors is not None:
        _logger.info("mask colours in class order: %s", ", ".join(map(str, colors)))
        for case in labelled:
            case["colors"] = colors
    elif labelled:
        check_levels(masks, num_classes)


def _check_classes(labelled: Sequence[Case], num_classes: int) -> None:
    """Refuse masks of more or fewer classes than the network has outputs."""
    names = labelled[0]["label"].names
    if len(names) != num_classes:
        raise ValueError(
            f"the masks are of the {len(names)} classes {', '.join(names)} while num_classes is {num_classes}; "
            f"expected {len(names)}, one for each class without the background, as multi_label is true: set "
            f"num_classes to {len(names)}"
        )
    _logger.info("classes: %s", ", ".join(names))


def _colors(folder: Path, masks: list[str], num_classes: int) -> list[tuple[int, int, int]] | None:
    path = folder / "colors.json"
    if path.is_file():
        try:
            colors = json.loads(path.read_text(encoding="utf-8-sig"))
            table = np.array(colors)
        except ValueError as error:
            raise ValueError(f"{path}: is no list of colours ({error})") from None
        if table.shape != (num_classes, 3) or table.dtype.kind != "i" or table.min() < 0 or table.max() > 255:
            raise ValueError(
                f"{path}: expected {num_classes} colours [r, g, b] of 0 to 255, one per class in order (num_classes)"
            )
        return [tuple(color) for color in table.tolist()]
    colors = mask_colors([mask for mask in masks if image_kind(mask) == "picture"])
    if colors is None or (len(colors) == num_classes and colors[0] == (0, 0, 0)):
        return colors
    found = ", ".join(map(str, colors[:8])) + (", ..." if len(colors) > 8 else "")
    raise ValueError(
        f"{folder}: the masks have {len(colors)} colours ({found}), num_classes is {num_classes}; expected as many "
        "colours as classes, with black for the background: set num_classes, or list the colours in class order in "
        "colors.json in that folder as [[r, g, b], ...]"
    )
