"""Several folders as one data set, and folders for training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..utils import user_path
from .divide import PARTS, Case
from .layouts import DataSet

Folders = str | os.PathLike | Sequence[Any] | Mapping[str, Any]


def find_in(dataset_dir: Folders, find: Callable[[Any], DataSet]) -> DataSet:
    """The cases of a folder, of several folders, or of folders for each part of the split.

    Of several, a case's name has its folder's in it: ``fold1/a``, or ``hand/fold1/a`` of what lies in a sub-folder.

    Args:
        dataset_dir: a folder; a list of folders; or folders by "train", "val" and, optionally, "test".
        find: lists the cases of one folder.

    Returns:
        The cases. Where folders are named for "train" and "val", those are the parts.

    Raises:
        ValueError: If a part is another, training or validation has none, or a folder is named twice.
    """
    if isinstance(dataset_dir, str | os.PathLike):
        return find(dataset_dir)
    parts = dict(dataset_dir) if isinstance(dataset_dir, Mapping) else {"": dataset_dir}
    if "" not in parts and (set(parts) - set(PARTS) or not parts.get("train") or not parts.get("val")):
        raise ValueError(
            f"dataset_dir has folders for {', '.join(map(str, parts)) or 'nothing'}; expected train and val, and test "
            "or not: name these parts"
        )
    listed = {part: [given] if isinstance(given, str | os.PathLike) else list(given) for part, given in parts.items()}
    names = _names([folder for folders in listed.values() for folder in folders])
    found: dict[str, list[Case]] = {"": [], "val": [], "test": []}
    group_by = None
    for part, folders in listed.items():
        for folder in folders:
            data_set = find(folder)
            group_by = group_by or data_set.group_by
            of_part = {"": data_set.training, "val": data_set.validation, "test": data_set.test}
            for own, cases in of_part.items() if not part else [("" if part == "train" else part, data_set.cases)]:
                found[own] += [{**case, "case": _name(case["case"], names[str(folder)])} for case in cases]
    first = user_path(next(folder for folders in listed.values() for folder in folders))
    return replace(DataSet(first, found[""], found["val"], found["test"]), group_by=group_by)


def _names(folders: Sequence[str | os.PathLike]) -> dict[str, str]:
    """A short name for each folder: its own, with as many of its parents as tell them apart."""
    paths = [Path(os.path.abspath(user_path(folder))) for folder in folders]
    if len(set(paths)) < len(paths) or not paths:
        twice = next((path for path in paths if paths.count(path) > 1), "nothing")
        raise ValueError(f"dataset_dir names {twice} twice; expected different folders: name each once")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["_".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return {str(folder): name for folder, name in zip(folders, names)}


def _name(case: str, folder: str) -> str:
    """The name of a case of one of several folders."""
    first, slash, rest = case.partition("/")
    return f"{first}/{folder}/{rest}" if slash else f"{folder}/{case}"
