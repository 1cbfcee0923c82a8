"""Data sets that list their cases in dataset.json: Medical Segmentation Decathlon, nnU-Net version 1, Auto3DSeg."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any

from .files import image_stem, image_suffix, is_junk
from .matching import Case, composed, relative_stem

LISTING = "dataset.json"
# names in the file
PARTS = {"training": ("training", "train"), "validation": ("validation", "val"), "test": ("test", "testing")}
_logger = logging.getLogger(__name__)


def read_listing(folder: Path) -> dict[str, Any] | None:
    """The content of dataset.json; None where there is none.

    Args:
        folder: the data set's folder.

    Raises:
        ValueError: If the file holds no JSON object.
    """
    path = folder / LISTING
    if not path.is_file():
        return None
    try:
        listing = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON in UTF-8 ({error}); mend the file") from None
    if not isinstance(listing, dict):
        raise ValueError(f'{path}: holds a {type(listing).__name__}; expected {{"training": [...], ...}}')
    return listing


def listed_cases(folder: Path, listing: dict[str, Any], labels: bool) -> list[list[Case]]:
    """The cases that dataset.json names for training, validation and test, each sorted by name.

    Args:
        folder: the data set's folder.
        listing: what dataset.json holds.
        labels: training and validation cases need a label.

    Returns:
        The three lists.

    Raises:
        FileNotFoundError: If a file that it names is missing.
        ValueError: If it is malformed or names a case twice.
    """
    source = folder / LISTING
    parts = [
        _entries(folder, [entry for key in keys for entry in _listed(source, listing, key)], part, labels)
        for part, keys in PARTS.items()
    ]
    if not any(parts):
        raise ValueError(f"{source}: lists no image in training, validation or test")
    _name_cases(folder, [case for part in parts for case in part], source)
    return [sorted(part, key=lambda case: case["case"]) for part in parts]


def _listed(source: Path, listing: dict[str, Any], key: str) -> list[Any]:
    entries = listing.get(key) or []
    if not isinstance(entries, list):
        raise ValueError(f"{source}: {key} is a {type(entries).__name__}; expected a list of images")
    return entries


def _entries(folder: Path, entries: list[Any], part: str, labels: bool) -> list[Case]:
    source = folder / LISTING
    cases = []
    for entry in entries:
        entry = {"image": entry} if isinstance(entry, (str, list)) else entry
        if not isinstance(entry, dict) or not entry.get("image"):
            raise ValueError(f'{source}: {part} has {entry!r}; expected {{"image": path, "label": path}}')
        names = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        if is_junk(os.path.basename(_posix(str(names[0])))):
            continue
        paths = [path for name in names for path in _files(folder, name)]
        case: Case = {"image": paths if isinstance(entry["image"], list) or len(paths) > 1 else paths[0]}
        if entry.get("label"):
            case["label"] = _file(folder, entry["label"])
        elif labels and part != "test":
            raise ValueError(f"{source}: {part} image {names[0]} has no label; add it, or leave the image out")
        cases.append(case)
    folds = sum(isinstance(entry, dict) and "fold" in entry for entry in entries)
    if folds:
        _logger.info("%s: the folds of %d %s images are not used; set fold or split_file", source, folds, part)
    return cases


def _files(folder: Path, name: Any) -> list[str]:
    """Paths of an image that dataset.json names: its file, or its channel files NAME_0000, NAME_0001, ..."""
    path = _path(folder, name)
    suffix = image_suffix(path)
    if suffix and not os.path.exists(path):
        stem = path[: len(path) - len(suffix)]
        channels: list[str] = []
        while os.path.exists(channel := f"{stem}_{len(channels):04d}{path[len(stem) :]}"):
            channels.append(str(channel))
        if channels:
            return channels
    return [_existing(folder, path)]


def _file(folder: Path, name: Any) -> str:
    return _existing(folder, _path(folder, name))


def _path(folder: Path, name: Any) -> str:
    """Path of a file that dataset.json names, which must lie in the data set's folder."""
    source = folder / LISTING
    if not isinstance(name, str):
        raise ValueError(f"{source}: names {name!r} as a file; expected a path")
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if not os.path.exists(path):
        path = os.path.normpath(os.path.join(root, _posix(name)))
    if os.path.commonpath([root, path]) != root:
        raise ValueError(f"{source}: names {name}, which lies outside the data set's folder; move the file into it")
    return str(folder / os.path.relpath(path, root))


def _posix(name: str) -> str:
    """A path with "/" between its parts, as Windows writes it or not."""
    return PureWindowsPath(name).as_posix()


def _existing(folder: Path, path: str) -> str:
    """The path as the file system spells it, whose accents may be composed or not."""
    if os.path.exists(path):
        return path
    found = folder
    for name in Path(os.path.relpath(path, folder)).parts:
        names = os.listdir(found) if found.is_dir() else []
        same = next((other for other in names if composed(other) == composed(name)), None)
        if same is None:
            source = folder / LISTING
            raise FileNotFoundError(f"{os.path.abspath(path)}: no such file, though {source} names it")
        found /= same
    return str(found)


def _name_cases(folder: Path, cases: list[Case], source: Path) -> None:
    firsts = [case["image"][0] if isinstance(case["image"], list) else case["image"] for case in cases]
    stems = [composed(image_stem(first)) for first in firsts]
    if len(set(stems)) < len(stems):
        stems = [relative_stem(Path(first), folder) for first in firsts]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise ValueError(f"{source}: lists case {twice[0]} more than once; a case belongs to one part")
    for case, stem in zip(cases, stems):
        case["case"] = stem
