"""Data sets with a folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import image_suffix, is_junk, list_images
from .groups import few, top_folder
from .layouts import DataSet, by_part_folders, contents, data_folder, part_folders
from .matching import image_cases, mask_files


def find_classes(dataset_dir: str | os.PathLike, in_channels: int, num_classes: int) -> DataSet:
    """Lists the cases of a folder that holds a folder per class: class 0 is the first of their sorted names.

    Args:
        dataset_dir: the data set's folder.
        in_channels: number of image channels; files NAME_0000, NAME_0001, ... are one case when they are as many.
        num_classes: number of classes.

    Returns:
        The cases, sorted by class and name, with ``class_label`` (0 to ``num_classes`` - 1) and ``class_name``; a case
        is called as its file below ``dataset_dir``, such as "hand/0001". A NAME_mask beside NAME is none. Where the
        folders are train/ beside val/ or test/, each holds the folders of the classes.

    Raises:
        FileNotFoundError: If the folder is missing.
        ValueError: If there are not as many folders as classes, one has no image, or images lie beside them.
    """
    folder = data_folder(dataset_dir, "one folder of images per class")
    entries = sorted(path for path in folder.iterdir() if not is_junk(path.name))
    classes = [path for path in entries if path.is_dir()]
    if part_folders(path.name for path in classes):
        return _with_parts(folder, classes, in_channels, num_classes)
    if len(classes) != num_classes:
        raise ValueError(
            f"{folder}: has {len(classes)} folders while num_classes is {num_classes}; expected one folder of "
            f"images per class: found {contents(folder)}"
        )
    stray = [path for path in entries if path not in classes and image_suffix(path)]
    if stray:
        raise ValueError(f"{stray[0]}: lies beside the folders of the classes; move it into the folder of its class")
    return DataSet(folder, [case for k in range(num_classes) for case in _cases(classes[k], k, in_channels)], [], [])


def _with_parts(folder: Path, parts: list[Path], in_channels: int, num_classes: int) -> DataSet:
    """The cases of train/, val/ and test/, each with the same folders of classes."""
    found = [find_classes(path, in_channels, num_classes) for path in parts]
    names = [sorted({case["class_name"] for case in data_set.cases}) for data_set in found]
    for path, other in zip(parts, names):
        if other != names[0]:
            raise ValueError(
                f"{path}: has the classes {', '.join(other)} while {parts[0]} has {', '.join(names[0])}; each part "
                "needs the same folders"
            )
    cases = [
        {**case, "case": f"{path.name}/{case['case']}"}
        for path, data_set in zip(parts, found)
        for case in data_set.cases
    ]
    return by_part_folders(DataSet(folder, cases, [], []))


def _cases(folder: Path, label: int, in_channels: int) -> list[dict]:
    paths = list_images(folder)
    masks = set(mask_files(paths, folder))
    paths = [path for path in paths if path not in masks]
    if not paths:
        raise ValueError(
            f"{folder}: holds no image, while every folder in {folder.parent} is a class; add images or remove it; "
            f"found {contents(folder)}"
        )
    cases = image_cases(paths, folder.parent, in_channels).values()
    return [{**case, "class_label": label, "class_name": folder.name} for case in cases]


def name_classes(cases: Sequence[dict[str, Any]], num_classes: int) -> None:
    """Give cases of a segmentation the class of their first sub-folder; phantoms take turns.

    Args:
        cases: which get ``class_label`` and ``class_name``.
        num_classes: number of classes of whole images.

    Raises:
        ValueError: If there are more or fewer sub-folders.
    """
    if cases and not isinstance(cases[0]["image"], str | os.PathLike | list):  # in memory
        for i, case in enumerate(cases):
            case |= {"class_label": i % num_classes, "class_name": f"class {i % num_classes}"}
        return
    names = sorted({top_folder(case["case"]) for case in cases})
    if len(names) != num_classes or "" in names:
        raise ValueError(
            f"the images lie in {len(names)} sub-folders ({few(names)}) while condition_classes is {num_classes}; "
            "expected one per class, as images/<class>/a.png with masks/<class>/a.png: set condition_classes"
        )
    for case in cases:
        case["class_name"] = top_folder(case["case"])
        case["class_label"] = names.index(case["class_name"])
