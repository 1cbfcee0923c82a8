"""Which file holds the prediction of a case."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import user_path
from .class_masks import ClassMasks, case_file
from .files import IMAGE_SUFFIXES, image_stem, list_images, safe_name
from .gi_tract import read_codes
from .groups import few

Case = dict[str, Any]
POSTFIX = "seg"  # of label maps that inference writes
MASKS = "prediction_masks"  # the key of predictions that are masks of each class
SUBMISSION = "submission.csv"  # of multi-label masks


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


def new_prediction_name(taken: set[str], source: str, case: str) -> str:
    """A name for ``source``, or for ``case`` without one, that is not taken yet; it is then."""
    names = prediction_names(source, case)
    names += [f"{names[0]}_{i}" for i in range(2, len(taken) + 3)]
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def with_predictions(
    parts: Mapping[str, Sequence[Case]],
    part: str,
    folder: str | os.PathLike | None,
    masks: Sequence[str] | None = None,
) -> Sequence[Case]:
    """The cases of a part of a split, with the files that hold their predictions.

    A file is called as inference calls it, or as the case: ``<stem>_seg`` or ``<stem>``, in the place of the stem the
    case's path in the data set, or the stem after names of its folders. Where several cases have one stem, a file of
    the stem alone is of the only one of them that no other file is of.

    Args:
        parts: the cases by part, as ``split_datalist`` gives them.
        part: name of the part.
        folder: holds label maps, with everything below it; None leaves the cases as they are.
        masks: the names of the classes where predictions are a mask of each: ``folder`` then holds ``<class>/<case>``,
            or is a file of run-length codes such as ``submission.csv``; None: predictions are label maps.

    Returns:
        The cases, with ``prediction``, a path, or ``prediction_masks``, a text of :class:`ClassMasks`, and the
        ``prediction_slab`` of those that are a slab of a volume.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a case has no prediction, or several.
    """
    cases = parts[part]
    if folder is None or folder == "":
        return cases
    folder = user_path(folder)
    if masks is not None and folder.is_file():
        return _with_codes(cases, folder, masks)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} of predictions: name the one that inference wrote into")
    if masks is not None:
        return [_with_prediction(case, _masks_of(case, folder, masks)) for case in cases]
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


def _masks_of(case: Case, folder: Path, names: Sequence[str]) -> ClassMasks:
    """The files of a case's predictions, with any image's suffix."""
    sources = []
    for name in names:
        places = [case_file(folder, case["case"], name, suffix) for suffix in IMAGE_SUFFIXES]
        found = [place for place in places if place.is_file()]
        if len(found) != 1:
            raise ValueError(
                f"{folder}: has {len(found)} files {name}/{case['case']} with an image's suffix; expected one: predict "
                "this case, evaluate a split without it, or remove the others"
            )
        sources.append(str(found[0]))
    return ClassMasks(tuple(names), tuple(sources))


def _with_codes(cases: Sequence[Case], table: Path, names: Sequence[str]) -> list[Case]:
    """The cases with the codes of a file, by the last part of their names."""
    codes = read_codes(table, "predicted")
    found = []
    for case in cases:
        identity = case["case"].rpartition("/")[2]
        of_case = codes.get(identity, {})
        missing = next((name for name in names if name not in of_case), None)
        if missing is not None:
            raise ValueError(
                f"{table}: has no line of {missing} of {identity}; expected one of each of {', '.join(names)}: predict "
                "this case, or evaluate a split without it"
            )
        found.append(_with_prediction(case, ClassMasks(tuple(names), tuple(of_case[name] for name in names))))
    return found


def _with_prediction(case: Case, prediction: Path | ClassMasks) -> Case:
    slab = {"prediction_slab": case["slab"]} if "slab" in case else {}
    found = {"prediction": str(prediction)} if isinstance(prediction, Path) else {MASKS: prediction.as_text()}
    return {**case, **found, **slab}
