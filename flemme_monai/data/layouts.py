"""Recognises how a data set lies on disk and lists its cases."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flemme_monai.data.files import IMAGE_SUFFIXES, image_stem, is_junk, list_images

Case = dict[str, Any]
IMAGE_FOLDERS = ("images", "imagesTr")
MASK_FOLDERS = ("masks", "labels", "labelsTr")
_LOOKED_FOR = (
    "dataset.json (Medical Segmentation Decathlon), images/ (with masks/ or labels/ for segmentation), "
    f"images ({', '.join(IMAGE_SUFFIXES)}), folders of DICOM series"
)
_MASK = "masks?|seg|segmentation|labels?|gt"
_MASK_NAME = re.compile(rf"({_MASK})$", re.IGNORECASE)
_MASK_ENDING = re.compile(rf"[_\-. ]({_MASK})$", re.IGNORECASE)
_ENDINGS = re.compile(rf"([_\-. ]({_MASK}|image|img|0000))+$", re.IGNORECASE)
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


@dataclass
class DataSet:
    """The cases of a folder.

    Args:
        folder: the data set's folder.
        training: the cases: ``image`` (a path or one path a channel), ``case`` (unique) and, where known, ``label``.
        validation: cases that dataset.json names for validation.
        test: cases that dataset.json names for test; they may lack a label.
    """

    folder: Path
    training: list[Case]
    validation: list[Case]
    test: list[Case]

    @property
    def cases(self) -> list[Case]:
        """All cases."""
        return self.training + self.validation + self.test


def find_cases(dataset_dir: str | os.PathLike, in_channels: int, labels: bool) -> DataSet:
    """Recognises the layout of a folder and lists its cases, sorted by name.

    Args:
        dataset_dir: the data set's folder.
        in_channels: number of image channels; files NAME_0000, NAME_0001, ... are one case when they are as many.
        labels: every case needs a label; without, labels are kept where they are found.

    Returns:
        The cases.

    Raises:
        FileNotFoundError: When the folder or a file named in dataset.json is missing.
        ValueError: When no layout is recognised or a file does not fit in it.
    """
    folder = data_folder(dataset_dir, _LOOKED_FOR)
    listing = _read_listing(folder)
    if listing is not None and "training" in listing:
        return _decathlon(folder, listing, labels)
    images, masks = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    if images is not None:
        if masks is None and labels:
            raise ValueError(f"{folder}: {images.name}/ has no masks/ or labels/ beside it; found {contents(folder)}")
        paths = list_images(images)
        cases = (
            _cases_of(_by_stem(paths, images, "image"), in_channels)
            if masks
            else image_cases(paths, images, in_channels)
        )
        if not cases:
            raise ValueError(f"{images}: holds no image; looked for {_LOOKED_FOR}; found {contents(images)}")
        if masks is not None:
            _match_labels(cases, list_images(masks), masks, labels)
        return DataSet(folder, list(cases.values()), [], [])
    cases = _loose_cases(folder, in_channels, labels)
    if not cases:
        raise ValueError(f"{folder}: no data set is recognised; looked for {_LOOKED_FOR}; found {contents(folder)}")
    return DataSet(folder, cases, [], [])


def data_folder(dataset_dir: str | os.PathLike, looked_for: str) -> Path:
    """The folder of a data set, which exists and holds something.

    Args:
        dataset_dir: its path.
        looked_for: what it should hold, for messages.

    Returns:
        The path, with the user's home written out.

    Raises:
        FileNotFoundError: When there is no such folder.
        ValueError: When it is a file or empty.
    """
    folder = Path(str(dataset_dir)).expanduser()
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder}: no such folder; give the data set's folder as dataset_dir, or none for phantoms"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; dataset_dir is the folder of a data set")
    if not any(not is_junk(name) for name in os.listdir(folder)):
        raise ValueError(f"{folder}: the folder is empty; looked for {looked_for}")
    return folder


def _read_listing(folder: Path) -> dict[str, Any] | None:
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error})") from None
    if not isinstance(listing, dict):
        raise ValueError(f'{path}: holds a {type(listing).__name__}; {{"training": [...], ...}} is expected')
    return listing


def _decathlon(folder: Path, listing: dict[str, Any], labels: bool) -> DataSet:
    source = folder / "dataset.json"
    parts: list[list[Case]] = []
    for part in ("training", "validation", "test"):
        entries = listing.get(part) or []
        if not isinstance(entries, list):
            raise ValueError(f"{source}: {part} is a {type(entries).__name__}; a list of images is expected")
        cases = []
        for entry in entries:
            entry = {"image": entry} if isinstance(entry, (str, list)) else entry
            if not isinstance(entry, dict) or not entry.get("image"):
                raise ValueError(f'{source}: {part} has {entry!r}; {{"image": path, "label": path}} is expected')
            names = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
            if is_junk(os.path.basename(str(names[0]))):
                continue
            paths = [_inside(folder, name) for name in names]
            case: Case = {"image": paths if isinstance(entry["image"], list) else paths[0]}
            if entry.get("label"):
                case["label"] = _inside(folder, entry["label"])
            elif labels and part != "test":
                raise ValueError(f"{source}: {part} image {names[0]} has no label; add it, or leave the image out")
            cases.append(case)
        parts.append(cases)
    if not any(parts):
        raise ValueError(f"{source}: lists no image in training, validation or test")
    _name_cases(folder, [case for part in parts for case in part], source)
    return DataSet(folder, *(sorted(part, key=lambda case: case["case"]) for part in parts))


def _inside(folder: Path, name: Any) -> str:
    """Path of a file that dataset.json names, which must lie in the data set's folder."""
    source = folder / "dataset.json"
    if not isinstance(name, str):
        raise ValueError(f"{source}: names {name!r} as a file; a path is expected")
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if os.path.commonpath([root, path]) != root:
        raise ValueError(f"{source}: names {name}, which lies outside the data set's folder; move the file into it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file, though {source} names it")
    return str(folder / os.path.relpath(path, root))


def _name_cases(folder: Path, cases: list[Case], source: Path) -> None:
    firsts = [case["image"][0] if isinstance(case["image"], list) else case["image"] for case in cases]
    stems = [image_stem(first) for first in firsts]
    if len(set(stems)) < len(stems):
        stems = [_relative_stem(Path(first), folder) for first in firsts]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise ValueError(f"{source}: lists case {twice[0]} more than once; a case belongs to one part")
    for case, stem in zip(cases, stems):
        case["case"] = stem


def _relative_stem(path: Path, folder: Path) -> str:
    """A case's name: the image's path below the folder, without suffix, with "/" between the parts."""
    stem = image_stem(path.absolute())
    return stem if path == folder else (path.relative_to(folder).parent / stem).as_posix()


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    wanted = {name.lower() for name in names}
    found = sorted(path for path in folder.iterdir() if path.name.lower() in wanted and path.is_dir())
    if len(found) > 1:
        raise ValueError(f"{folder}: has {' and '.join(path.name + '/' for path in found)}; keep one of them")
    return found[0] if found else None


def _by_stem(paths: Sequence[Path], folder: Path, what: str) -> dict[str, Path]:
    """Files by their name without suffix, which a case has one of."""
    stems: dict[str, Path] = {}
    for path in paths:
        stem = _relative_stem(path, folder)
        if stem in stems:
            raise ValueError(f"{folder}: has {stems[stem].name} and {path.name}; a case has one {what}, remove one")
        stems[stem] = path
    return stems


def _by_name(paths: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Files by their name without suffix, or with it where that tells them apart."""
    stems = [_relative_stem(path, folder) for path in paths]
    count = Counter(stems)
    return {stem if count[stem] == 1 else path.relative_to(folder).as_posix(): path for stem, path in zip(stems, paths)}


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
    return _cases_of(_by_name(paths, folder), in_channels)


def _cases_of(images: dict[str, Path], in_channels: int) -> dict[str, Case]:
    """Cases by name, channel files NAME_0000, NAME_0001, ... together when each case has ``in_channels`` of them."""
    groups: dict[str, list[str]] = {}
    for stem in images:
        match = _CHANNEL.match(stem)
        groups.setdefault(match[1] if match else stem, []).append(stem)
    channels = [f"{channel:04d}" for channel in range(in_channels)]
    if in_channels > 1 and all([stem[-4:] for stem in stems] == channels for stems in groups.values()):
        return {name: {"image": [str(images[stem]) for stem in stems], "case": name} for name, stems in groups.items()}
    return {stem: {"image": str(path), "case": stem} for stem, path in images.items()}


def _match_labels(cases: dict[str, Case], masks: list[Path], folder: Path, labels: bool) -> None:
    """Gives each case the mask of its name; names may end differently in _mask, _seg, _label, _0000 and the like."""
    stems = _by_stem(masks, folder, "mask")
    for stem in set(cases) & set(stems):
        cases[stem]["label"] = str(stems.pop(stem))
    images_of, masks_of = _by_core([stem for stem in cases if "label" not in cases[stem]]), _by_core(stems)
    for core in set(images_of) & set(masks_of):
        if len(images_of[core]) > 1 or len(masks_of[core]) > 1:
            raise ValueError(
                f"{folder}: images {', '.join(images_of[core])} and masks {', '.join(masks_of[core])} cannot be told "
                "apart; name each mask as its image"
            )
        cases[images_of[core][0]]["label"] = str(stems.pop(masks_of[core][0]))
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


def _by_core(stems: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is left without endings such as _mask."""
    cores: dict[str, list[str]] = {}
    for stem in stems:
        cores.setdefault(_ENDINGS.sub("", stem), []).append(stem)
    return cores


def _loose_cases(folder: Path, in_channels: int, labels: bool) -> list[Case]:
    """Cases of a folder of images, where NAME_mask (or _seg, _label) beside NAME is its mask; or of DICOM series."""
    paths = list_images(folder)
    series = [path for path in paths if path.is_dir()]
    if len(series) == 1 and len(paths) == 2:
        other = next(path for path in paths if path not in series)
        if _MASK_NAME.match(image_stem(other)):
            return [{"image": str(series[0]), "label": str(other), "case": _relative_stem(series[0], folder)}]
    stems = {_relative_stem(path, folder) for path in paths}
    masks = [path for path in paths if _MASK_ENDING.sub("", stem := _relative_stem(path, folder)) in stems - {stem}]
    images = [path for path in paths if path not in masks]
    if series and len(series) < len(images):
        stray = next(path for path in images if path not in series)
        raise ValueError(f"{folder}: holds DICOM series and {stray.name}; keep images of one kind in a data set")
    if labels and images and not masks:
        raise ValueError(
            f"{folder}: has images but no masks; segmentation needs images/ with masks/ or labels/ (or dataset.json); "
            f"found {contents(folder)}"
        )
    cases = (
        _cases_of(_by_stem(images, folder, "image"), in_channels) if masks else image_cases(images, folder, in_channels)
    )
    if masks:
        _match_labels(cases, masks, folder, labels)
    return list(cases.values())


def contents(folder: Path) -> str:
    """What a folder holds, in few words.

    Args:
        folder: an existing folder.

    Returns:
        Such as "images/, 3 files (.json)".
    """
    names = sorted(name for name in os.listdir(folder) if not is_junk(name))
    folders = [name + "/" for name in names if (folder / name).is_dir()]
    files = Counter(Path(name).suffix or "no suffix" for name in names if not (folder / name).is_dir())
    parts = folders[:8] + (["..."] if len(folders) > 8 else [])
    parts += [f"{count} file{'s' if count > 1 else ''} ({suffix})" for suffix, count in files.most_common(8)]
    return ", ".join(parts) or "nothing"
