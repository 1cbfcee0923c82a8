"""Which files belong together: the channels of an image, and an image and its mask."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import image_stem

Case = dict[str, Any]
_MASK = "masks?|seg|segmentation|labels?|gt"
_MASK_NAME = re.compile(rf"({_MASK})$", re.IGNORECASE)
_MASK_ENDING = re.compile(rf"[_\-. ]({_MASK})([_\- ]?\d{{1,3}})?$", re.IGNORECASE)  # a_mask, a_mask_1
_ENDINGS = re.compile(rf"([_\-. ]({_MASK}|image|img|0000))+$", re.IGNORECASE)
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


def composed(name: str) -> str:
    """A name with its accents composed (Unicode NFC): file systems store one name in either form."""
    return unicodedata.normalize("NFC", name)


def relative_stem(path: Path, folder: Path) -> str:
    """A case's name: the image's path below the folder, without suffix, with "/" between the parts."""
    stem = image_stem(path.absolute())
    return composed(stem if path == folder else (path.relative_to(folder).parent / stem).as_posix())


def by_stem(paths: Sequence[Path], folder: Path, what: str) -> dict[str, Path]:
    """Files by their name without suffix, which a case has one of.

    Args:
        paths: the files.
        folder: the folder below which they lie.
        what: what a case has one of, for the error.

    Raises:
        ValueError: If two files have one name.
    """
    stems: dict[str, Path] = {}
    for path in paths:
        stem = relative_stem(path, folder)
        if stem in stems:
            raise ValueError(f"{folder}: has {stems[stem].name} and {path.name}; a case has one {what}, remove one")
        stems[stem] = path
    return stems


def image_cases(paths: Sequence[Path], folder: Path, in_channels: int) -> dict[str, Case]:
    """Cases of images alone, by name.

    Args:
        paths: the images.
        folder: the folder below which they lie; a case is called as its path from there, without suffix where that is
            unique.
        in_channels: number of image channels; files NAME_0000, NAME_0001, ... are one case when they are as many.

    Returns:
        Items with ``image`` and ``case``, by ``case``.
    """
    stems = [relative_stem(path, folder) for path in paths]
    count = Counter(stems)
    names = [
        stem if count[stem] == 1 else composed(path.relative_to(folder).as_posix()) for stem, path in zip(stems, paths)
    ]
    return cases_of(dict(zip(names, paths)), in_channels)


def cases_of(images: dict[str, Path], in_channels: int) -> dict[str, Case]:
    """Cases by name, channel files NAME_0000, NAME_0001, ... together when each case has ``in_channels`` of them.

    Args:
        images: the files by name.
        in_channels: number of image channels.

    Returns:
        Items with ``image`` and ``case``, by ``case``.
    """
    groups: dict[str, list[str]] = {}
    for stem in images:
        match = _CHANNEL.match(stem)
        groups.setdefault(match[1] if match else stem, []).append(stem)
    channels = [f"{channel:04d}" for channel in range(in_channels)]
    if in_channels > 1 and all([stem[-4:] for stem in stems] == channels for stems in groups.values()):
        return {name: {"image": [str(images[stem]) for stem in stems], "case": name} for name, stems in groups.items()}
    return {stem: {"image": str(path), "case": stem} for stem, path in images.items()}


def is_mask_name(name: str) -> bool:
    """Whether a name says that the file is a mask: "mask", "labels", "seg" and the like."""
    return _MASK_NAME.match(name) is not None


def mask_files(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Those of the files below a folder that are called as another one with an ending such as _mask."""
    stems = [relative_stem(path, folder) for path in paths]
    known = set(stems)
    return [path for stem, path in zip(stems, paths) if _MASK_ENDING.sub("", stem) in known - {stem}]


def match_labels(cases: dict[str, Case], masks: Sequence[Path], folder: Path, labels: bool) -> None:
    """Gives each case the mask of its name; names may end differently in _mask, _seg, _label, _0000 and the like.

    All masks in a sub-folder with a case's name are that case's, one per instance; so are NAME_mask, NAME_mask_1, ...

    Args:
        cases: the cases by name; ``label`` is added: a path, or a list of paths.
        masks: the mask files.
        folder: the folder below which they lie.
        labels: every case needs a mask, and every mask a case.

    Raises:
        ValueError: If that does not hold, or names cannot be told apart.
    """
    instances: dict[str, list[Path]] = {}
    for path in masks:
        parent = composed(path.parent.relative_to(folder).as_posix())
        if parent in cases:
            instances.setdefault(parent, []).append(path)
    instances = {**_numbered(masks, folder, cases), **instances}
    for name, paths in instances.items():
        cases[name]["label"] = instance_masks(paths)
    merged = {path for paths in instances.values() for path in paths}
    stems = by_stem([path for path in masks if path not in merged], folder, "mask")
    for stem in [stem for stem in cases if "label" not in cases[stem] and stem in stems]:
        cases[stem]["label"] = str(stems.pop(stem))
    images_of, masks_of = _by_core([stem for stem in cases if "label" not in cases[stem]]), _by_core(stems)
    for core in set(images_of) & set(masks_of):
        if len(images_of[core]) > 1 or len(masks_of[core]) > 1:
            raise ValueError(
                f"{folder}: images {', '.join(images_of[core])} and masks {', '.join(masks_of[core])} cannot be told "
                "apart; name each mask as its image"
            )
        cases[images_of[core][0]]["label"] = str(stems.pop(masks_of[core][0]))
    for stem in list(stems):  # of a series in folders below the one with the mask's name
        below = [name for name in cases if name.startswith(f"{stem}/") and "label" not in cases[name]]
        if len(below) == 1:
            cases[below[0]]["label"] = str(stems.pop(stem))
    if not labels:
        return
    missing = [case["image"] for case in cases.values() if "label" not in case]
    if missing:
        raise ValueError(
            f"{missing[0]}: has no mask in {folder} ({len(missing)} of {len(cases)} images have none); "
            "add the mask under the image's name, or remove the image"
        )
    if stems:
        stray = next(iter(stems.values()))
        raise ValueError(
            f"{stray}: no image has this mask's name ({len(stems)} such masks); add the image or remove it"
        )


def _numbered(masks: Sequence[Path], folder: Path, cases: Mapping[str, Case]) -> dict[str, list[Path]]:
    """Masks by the case whose name they have before one ending, such as _mask, that some have with a number."""
    found: dict[str, dict[str, list[Path]]] = {}
    numbered = set()
    for path in masks:
        stem = relative_stem(path, folder)
        ending = _MASK_ENDING.search(stem)
        if ending and stem not in cases and (name := stem[: ending.start()]) in cases:
            found.setdefault(name, {}).setdefault(ending[1].lower(), []).append(path)
            if ending[2]:
                numbered.add(name)
    return {name: paths for name in numbered if len(found[name]) == 1 for paths in found[name].values()}


def instance_masks(paths: Sequence[Path]) -> str | list[str]:
    """The ``label`` of a case: its mask, or its masks when each instance has one."""
    return str(paths[0]) if len(paths) == 1 else [str(path) for path in paths]


def _by_core(stems: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is left without endings such as _mask."""
    cores: dict[str, list[str]] = {}
    for stem in stems:
        cores.setdefault(_ENDINGS.sub("", stem), []).append(stem)
    return cores
