"""Divides cases into training, validation and test: by case, by fold, by name, or each volume by slabs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import partition_dataset

from flemme_monai.data.reading import read_image
from flemme_monai.utils import user_path

Case = dict[str, Any]
Split = dict[str, list[Case]]
PARTS = ("train", "val", "test")
_SHARES = (0.6, 0.2, 0.2)
_CONTENT_LEVEL = 0.5
_CONTENT_SHARE = 0.02
_logger = logging.getLogger(__name__)


def split_by_share(cases: Sequence[Case]) -> Split:
    """The first 60% of the cases train, the next 20% validate, the last 20% test; none is left empty.

    Args:
        cases: at least 3 cases, in order.

    Returns:
        The cases by "train", "val" and "test".
    """
    first, last = _bounds(len(cases))
    return {"train": list(cases[:first]), "val": list(cases[first:last]), "test": list(cases[last:])}


def split_by_fold(cases: Sequence[Case], fold: int, num_folds: int) -> Split:
    """K-fold cross-validation: fold k tests, fold k + 1 validates, the others train; over all k each case tests once.

    Args:
        cases: at least ``num_folds`` cases, in order; case i is in fold i modulo ``num_folds``.
        fold: the fold that tests, from 0.
        num_folds: number of folds, at least 3.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        ValueError: When the numbers do not fit.
    """
    if num_folds < 3 or not 0 <= fold < num_folds:
        raise ValueError(
            f"fold is {fold} of num_folds {num_folds}; num_folds must be at least 3 and fold 0 to num_folds - 1"
        )
    if len(cases) < num_folds:
        raise ValueError(
            f"num_folds is {num_folds} but there are {len(cases)} cases; set num_folds to {len(cases)} or less"
        )
    folds = partition_dataset(list(range(len(cases))), num_partitions=num_folds)
    validation = (fold + 1) % num_folds
    chosen = {
        "train": sorted(i for k in range(num_folds) if k not in (fold, validation) for i in folds[k]),
        "val": folds[validation],
        "test": folds[fold],
    }
    return {part: [cases[i] for i in chosen[part]] for part in PARTS}


def split_by_file(cases: Sequence[Case], split_file: str | os.PathLike) -> Split:
    """The split that a JSON file names: {"train": [case, ...], "val": [...], "test": [...]}.

    Args:
        cases: all cases.
        split_file: path of the file. Without "test" the validation cases test, which is logged.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is no such JSON, names an unknown case, or a case twice.
    """
    split_file = user_path(split_file)
    if not split_file.is_file():
        raise FileNotFoundError(f"{split_file}: no such split file")
    try:
        named = json.loads(split_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{split_file}: is not JSON ({error})") from None
    shape = '{"train": [case, ...], "val": [...], "test": [...]}'
    if not isinstance(named, dict) or not all(isinstance(names, list) for names in named.values()):
        raise ValueError(f"{split_file}: {shape} is expected")
    if set(named) - set(PARTS) or not named.get("train") or not named.get("val"):
        raise ValueError(
            f"{split_file}: has {', '.join(named) or 'no entries'}; {shape} with train and val is expected"
        )
    return split_by_name(cases, named, os.fspath(split_file))


def split_by_name(cases: Sequence[Case], named: Mapping[str, Sequence[str]], source: str) -> Split:
    """The split by lists of case names.

    Args:
        cases: all cases.
        named: names by "train", "val" and, optionally, "test".
        source: the file that names them, for messages.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        ValueError: When a name is unknown or given twice.
    """
    known = {case["case"]: case for case in cases}
    seen: set[str] = set()
    for part, names in named.items():
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{source}: {part} names case {name!r}, which is not among the {len(known)} cases ({_few(known)})"
                )
            if name in seen:
                raise ValueError(f"{source}: names case {name!r} twice; a case belongs to one part")
            seen.add(name)
    split = {part: [known[name] for name in named.get(part, ())] for part in PARTS}
    if len(seen) < len(known):
        _logger.info("%s leaves out %d of %d cases", source, len(known) - len(seen), len(known))
    if not split["test"]:
        _logger.info("%s names no test cases: the validation cases serve as test", source)
        split["test"] = list(split["val"])
    return split


def split_each_class(cases: Sequence[Case], divide: Callable[[Sequence[Case]], Split]) -> Split:
    """Divides the cases of each class alike, so that each part has its share of every class; the parts follow classes.

    Args:
        cases: cases with ``class_label``; those without any are divided as one class.
        divide: divides the cases of one class, in order.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        ValueError: When the cases of a class cannot be divided.
    """
    classes: dict[int | None, list[Case]] = {}
    for case in cases:
        classes.setdefault(case.get("class_label"), []).append(case)
    split: Split = {part: [] for part in PARTS}
    for label in sorted(classes) if None not in classes else classes:
        try:
            divided = divide(classes[label])
        except ValueError as error:
            if label is None:
                raise
            raise ValueError(f"class {classes[label][0]['class_name']} ({label}): {error}") from None
        for part in PARTS:
            split[part] += divided[part]
    return split


def split_by_slab(cases: Sequence[Case], test: Sequence[Case] = ()) -> Split:
    """Divides each volume along its axial axis: the first 60% of its slices with content train, 20% validate, 20% test.

    Where other cases are kept for test, the last 40% validate. A slice has content when at least 2% of its voxels
    exceed half of the volume's brightness (99.5th percentile).

    Args:
        cases: volumes; each is read once.
        test: cases that are kept for test, whole.

    Returns:
        The cases by "train", "val" and "test"; those of ``cases`` with ``slab`` = [first, last) along the last RAS
        axis.

    Raises:
        ValueError: When an image is no volume or has fewer than 3 slices with content.
    """
    split: Split = {part: [] for part in PARTS}
    for case in cases:
        low, high = _content(case)
        first, last = _bounds(high - low)
        edges = (low, low + first, high) if test else (low, low + first, low + last, high)
        for part, start, end in zip(PARTS, edges, edges[1:]):
            split[part].append({**case, "slab": (start, end)})
    split["test"] += test
    return split


def _content(case: Case) -> tuple[int, int]:
    """[first, last) of the slices with content."""
    image = read_image(case["image"]) if not hasattr(case["image"], "affine") else case["image"]
    if image.ndim != 4:
        raise ValueError(
            f"case {case['case']}: is a 2D image, which cannot be divided into slabs; set split_by to case"
        )
    volume = image.numpy()
    bright = volume - volume.min() > _CONTENT_LEVEL * (np.percentile(volume, 99.5) - volume.min())
    filled = np.flatnonzero(bright.mean(axis=(0, 1, 2)) >= _CONTENT_SHARE)
    if len(filled) < len(PARTS):
        raise ValueError(f"case {case['case']}: has {len(filled)} slices with content; at least 3 are needed for slabs")
    return int(filled[0]), int(filled[-1]) + 1


def _bounds(count: int) -> tuple[int, int]:
    """Where validation and test begin among ``count`` (at least 3) things in order."""
    train = min(max(round(_SHARES[0] * count), 1), count - 2)
    val = min(max(round(_SHARES[1] * count), 1), count - train - 1)
    return train, train + val


def _few(names: Sequence[str] | Mapping[str, Any]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
