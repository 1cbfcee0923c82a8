"""BIDS data sets (Gorgolewski et al. 2016): images of subjects, and labels in ``derivatives/``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .files import image_stem, image_suffix, is_junk
from .matching import Case

DESCRIPTION = "dataset_description.json"
BY_SUBJECT = r"sub-[A-Za-z0-9]+"
LABELS = ("dseg", "mask")
_SUBJECT = re.compile(rf"{BY_SUBJECT}$")
_OF_LABELS = ("space", "desc", "label", "res", "den", "atlas", "seg")  # entities that a label has and its image has not


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS data set: its description beside folders of subjects."""
    return (folder / DESCRIPTION).is_file() and any(_SUBJECT.match(path.name) for path in folder.iterdir())


def bids_cases(
    folder: Path, in_channels: int, labels: bool, modalities: Sequence[str] = (), pipeline: str | None = None
) -> list[Case]:
    """The images of all subjects and sessions, with the labels of ``derivatives/``.

    Files of one image have one name but for its suffix (``T1w``, ``FLAIR``); a label has that name with entities of its
    own (``space-``, ``desc-``, ...) and the suffix ``dseg`` or ``mask``.

    Args:
        folder: the data set's folder.
        in_channels: number of image channels: as many as modalities where these are named.
        labels: every image needs a label; without, labels are kept where they are found.
        modalities: the suffixes whose files are the channels of an image; one by itself; none: the only one there is.
        pipeline: the folder in ``derivatives/`` with the labels; None: the only one with any.

    Returns:
        Items with ``image``, ``case`` (``sub-01/ses-1/sub-01_ses-1``) and, where it is known, ``label``.

    Raises:
        ValueError: If there are several modalities or pipelines and none is named, or a file is missing.
    """
    images: dict[str, dict[str, Path]] = {}
    for subject in sorted(path for path in folder.iterdir() if _SUBJECT.match(path.name) and path.is_dir()):
        for path in _files(subject):
            name, suffix = _split(path)
            images.setdefault(f"{_place(path, folder)}/{name}", {})[suffix] = path
    counted = Counter(suffix for files in images.values() for suffix in files)
    wanted = list(modalities) or _only(folder, counted)
    if len(wanted) > 1 and len(wanted) != in_channels:
        raise ValueError(
            f"{folder}: {len(wanted)} modalities while in_channels is {in_channels}; expected one per channel: set "
            f"in_channels to {len(wanted)}"
        )
    found = _labels(folder, pipeline)
    cases: list[Case] = []
    for name, files in images.items():
        if wanted[0] not in files:
            continue
        lacking = [suffix for suffix in wanted if suffix not in files]
        if lacking:
            raise ValueError(f"{files[wanted[0]]}: has no {lacking[0]} beside it; add it, or remove the image")
        paths = [str(files[suffix]) for suffix in wanted]
        case: Case = {"image": paths if len(paths) > 1 else paths[0], "case": name}
        if name in found:
            case["label"] = str(found[name])
        elif labels:
            raise ValueError(
                f"{paths[0]}: has no label in derivatives/; expected its name with dseg or mask: add it, or remove the "
                "image"
            )
        cases.append(case)
    if not cases:
        raise ValueError(f"{folder}: no subject has a {wanted[0]}; found {', '.join(sorted(counted)) or 'no image'}")
    return cases


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and image_suffix(p) and not is_junk(p.name))


def _split(path: Path) -> tuple[str, str]:
    """The entities that name an image, and its suffix."""
    *entities, suffix = image_stem(path).split("_")
    return "_".join(e for e in entities if e.partition("-")[0] not in _OF_LABELS), suffix


def _place(path: Path, folder: Path) -> str:
    """The folders of subject and session that a file lies in."""
    parts = path.relative_to(folder).parts[:-1]
    return "/".join(part for part in parts if part.startswith(("sub-", "ses-")))


def _labels(folder: Path, pipeline: str | None) -> dict[str, Path]:
    """The labels of a pipeline by the names of their images."""
    root = folder / "derivatives"
    pipelines = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if pipeline is not None:
        pipelines = [root / pipeline]
        if not pipelines[0].is_dir():
            raise ValueError(f"{folder}: has no derivatives/{pipeline}/, which label_folder names; add it")
    each = {path.name: _of_pipeline(path) for path in pipelines}
    each = {name: found for name, found in each.items() if found}
    if len(each) > 1:
        raise ValueError(f"{root}: has labels in {', '.join(each)}; expected one pipeline: name it by label_folder")
    return next(iter(each.values()), {})


def _of_pipeline(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _files(folder):
        name, suffix = _split(path)
        if suffix not in LABELS:
            continue
        key = f"{_place(path, folder)}/{name}"
        if key in found:
            raise ValueError(f"{path}: and {found[key].name} are labels of one image; expected one: remove one")
        found[key] = path
    return found


def _only(folder: Path, counted: Counter[str]) -> list[str]:
    """The only suffix there is."""
    if len(counted) != 1:
        raise ValueError(
            f"{folder}: has the modalities {', '.join(sorted(counted)) or 'none'}; expected one: name it, or one "
            f"per channel, by image_folders"
        )
    return list(counted)
