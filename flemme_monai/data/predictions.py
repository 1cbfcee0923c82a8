"""Which file holds the prediction of a case."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import user_path
from .files import image_stem, list_images
from .groups import few

Case = dict[str, Any]
POSTFIX = "seg"  # of label maps that inference writes
SUBMISSION = "submission.csv"  # of multi-label masks


def safe_name(name: str) -> str:
    """The name with ``_`` for what could lead out of a folder or hide a file."""
    return "".join(c if c.isalnum() or c in "-_. +" else "_" for c in name).lstrip(".") or "_"


def prediction_names(source: str, case: str) -> list[str]:
    """What a prediction is called, without its ending: as its image, or with as many folders as tell it from others.

    Args:
        source: path of the image; empty for none.
        case: names an image that comes from no file.

    Returns:
        Names, the shortest first.
    """
    words = [safe_name(case)]
    if source:
        words = [image_stem(source), *(parent.name for parent in Path(source).parents if parent.name)]
    return ["_".join(reversed(words[: i + 1])) for i in range(len(words))]


def with_predictions(
    parts: Mapping[str, Sequence[Case]], part: str, folder: str | os.PathLike | None
) -> Sequence[Case]:
    """The cases of a part of a split, with the files that hold their predictions.

    A file is called as inference calls it, or as the case: ``<stem>_seg`` or ``<stem>``, in the place of the stem the
    case's path in the data set, or the stem after names of its folders. Where several cases have one stem, a file of
    the stem alone is of the only one of them that no other file is of.

    Args:
        parts: the cases by part, as ``split_datalist`` gives them.
        part: name of the part.
        folder: holds label maps, with everything below it; None leaves the cases as they are.

    Returns:
        The cases, with ``prediction``, a path, and the ``prediction_slab`` of those that are a slab of a volume.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a case has no prediction, or several.
    """
    cases = parts[part]
    if folder is None or folder == "":
        return cases
    folder = user_path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} of predictions: name the one that inference wrote into")
    files: dict[str, list[Path]] = {}
    for path in list_images(folder):
        stem = (path.parent.relative_to(folder) / image_stem(path)).as_posix()
        files.setdefault(stem, []).append(path)
    stems = {case["case"]: _names(case)[0] for every in parts.values() for case in every}
    shared = Counter(stems.values())
    found = {case["case"]: _named(files, _own_names(case, shared)) for case in cases}
    for case in cases:
        stem, name = _names(case)[0], case["case"]
        alike = [other for other in cases if _names(other)[0] == stem and not found[other["case"]]]
        if not found[name] and alike == [case]:
            found[name] = _named(files, [stem])
    missing = [name for name, paths in found.items() if not paths]
    if missing:
        raise ValueError(
            f"{folder}: has no prediction of {len(missing)} of the {len(cases)} cases ({few(missing)}); expected "
            f"<case>_{POSTFIX} or <case> with an image's suffix: predict them, or evaluate a split without them"
        )
    several = next((paths for paths in found.values() if len(paths) > 1), None)
    if several:
        raise ValueError(
            f"{folder}: has {several[0].name} and {several[1].name} of one case; expected one prediction: remove one"
        )
    return [_with_prediction(case, found[case["case"]][0]) for case in cases]


def _source(case: Case) -> str:
    """The path of a case's image, or of its first channel; empty where it is in memory."""
    image = case["image"][0] if isinstance(case["image"], list) else case["image"]
    return os.fspath(image) if isinstance(image, str | os.PathLike) else ""


def _names(case: Case) -> list[str]:
    return prediction_names(_source(case), case["case"])


def _own_names(case: Case, shared: Mapping[str, int]) -> list[str]:
    """Names that no other case's prediction has: of the stem alone where it is the only case's."""
    stem, *longer = _names(case)
    whole = case["case"]
    return [*longer, whole, safe_name(whole), *([stem] if shared[stem] == 1 else [])]


def _named(files: Mapping[str, list[Path]], names: Sequence[str]) -> list[Path]:
    """The files of the first name that there is one of, those of inference before others."""
    wanted = [ending for name in dict.fromkeys(names) for ending in (f"{name}_{POSTFIX}", name)]
    return next((files[name] for name in wanted if name in files), [])


def _with_prediction(case: Case, path: Path) -> Case:
    slab = {"prediction_slab": case["slab"]} if "slab" in case else {}
    return {**case, "prediction": str(path), **slab}
