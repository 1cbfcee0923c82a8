"""Masks of one image that may overlap: one of each class, from files or run-length codes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from .files import image_stem, is_junk, list_images
from .masks import to_label_map
from .matching import Case, composed, instance_masks, match_labels
from .reading import Stored, displacement, meta_of, read_masks
from .run_length import decode


@dataclass(frozen=True)
class Code:
    """A mask as a run-length code.

    Args:
        text: the code.
        where: the file and line that it stands in.
    """

    text: str
    where: str


@dataclass(frozen=True)
class ClassMasks:
    """Where the masks of one image are.

    Args:
        names: the classes, in the order of the network's outputs.
        sources: of each class a file, one file per instance, a code, or None where the image does not have it.
    """

    names: tuple[str, ...]
    sources: tuple[str | list[str] | Code | None, ...]

    @property
    def files(self) -> list[str]:
        """The files among them."""
        found = [[source] if isinstance(source, str) else source for source in self.sources]
        return [path for paths in found if isinstance(paths, list) for path in paths]

    @property
    def codes(self) -> list[str]:
        """The texts of the codes among them."""
        return [source.text for source in self.sources if isinstance(source, Code)]


def load_class_masks(masks: ClassMasks, image: MetaTensor) -> MetaTensor:
    """Reads the masks of an image.

    Args:
        masks: where they are.
        image: (C, *S) as its file has it, of whose grid codes and missing masks are.

    Returns:
        (classes, *S) uint8, 0 and 1, with the meta of the first file, or that of the image without files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a mask is unreadable, malformed, or of another size than the others.
    """
    channels: list[np.ndarray] = []
    meta: dict[str, Any] | None = None
    grid = tuple(image.meta["spatial_shape"]) if "spatial_shape" in image.meta else tuple(image.shape[1:])
    for source in masks.sources:
        if source is None:
            channels.append(np.zeros(grid, np.uint8))
        elif isinstance(source, Code):
            if len(grid) != 2:
                raise ValueError(f"{source.where}: is the code of a volume; expected a 2D image: store masks as files")
            width, height = grid
            channels.append(decode(source.text, (height, width), source.where).T)
        else:
            stored = read_masks(source)
            first = source if isinstance(source, str) else source[0]
            labels = to_label_map(stored.array, first, 2)[0]
            _check_grid(labels, stored, first, image, grid)
            channels.append(labels)
            meta = meta or meta_of(stored, first)
    found = np.stack(channels)
    return MetaTensor(torch.from_numpy(found), meta=dict(image.meta) if meta is None else meta)


def _check_grid(labels: np.ndarray, stored: Stored, name: str, image: MetaTensor, grid: Sequence[int]) -> None:
    if labels.shape != tuple(grid):
        raise ValueError(
            f"{name}: has the shape {labels.shape}; expected {tuple(int(n) for n in grid)}, that of its image "
            f"{image.meta.get('filename_or_obj', '')}: mend the mask"
        )
    shift = displacement(stored.affine, np.asarray(image.meta["original_affine"]), grid) if labels.ndim == 3 else 0.0
    if shift > 0.5:
        raise ValueError(
            f"{name}: lies {shift:.1f} voxels off its image {image.meta.get('filename_or_obj', '')} (the affines "
            "differ); resample the mask onto the image"
        )


def class_folders(masks: Path) -> list[Path]:
    """The folders of classes in a folder of masks, sorted by name."""
    return sorted(path for path in masks.iterdir() if path.is_dir() and not is_junk(path.name))


def match_class_masks(cases: dict[str, Case], masks: Path, labels: bool) -> None:
    """Gives each case the masks of its name in ``masks/<class>/``; a class that has no file of a case is not in it.

    Args:
        cases: the cases by name; ``label`` is added, a :class:`ClassMasks`.
        masks: the folder of the folders of classes.
        labels: every mask needs a case.

    Raises:
        ValueError: If there is no folder of a class, masks lie beside these, or a mask is of no case.
    """
    folders = class_folders(masks)
    stray = next((path for path in list_images(masks) if path.parent == masks), None)
    if not folders or stray is not None:
        found = "holds no folder" if stray is None else f"holds {stray.name}"
        raise ValueError(
            f"{masks}: {found}; expected one folder of masks per class, as multi_label is true: sort the masks into "
            "such folders, or set multi_label to false for label maps"
        )
    for name in cases:
        if any(name.startswith(f"{composed(path.name)}/") for path in folders):
            raise ValueError(f"{masks}: the image {name} lies in a folder called as a class: rename that folder")
    found_by_class: list[dict[str, Case]] = []
    for folder in folders:
        copies = {name: {key: value for key, value in case.items() if key != "label"} for name, case in cases.items()}
        paths = list_images(folder)
        match_labels(copies, paths, folder, labels=False)
        matched = {path for case in copies.values() if "label" in case for path in _paths(case["label"])}
        unknown = next((path for path in paths if str(path) not in matched), None)
        if unknown is not None and labels:
            raise ValueError(f"{unknown}: no image has this mask's name: add the image or remove the mask")
        found_by_class.append(copies)
    names = tuple(composed(folder.name) for folder in folders)
    for name, case in cases.items():
        case["label"] = ClassMasks(names, tuple(found[name].get("label") for found in found_by_class))


def _paths(label: str | list[str]) -> list[str]:
    return [label] if isinstance(label, str) else label


def class_names(
    cases: Iterable[Case], given: Sequence[str] | None = None, num_classes: int | None = None
) -> list[str] | None:
    """The names of the classes of multi-label cases.

    Args:
        cases: the cases.
        given: names that a setting gives.
        num_classes: number of the classes; without, that of the names is not checked.

    Returns:
        The names: those given, those of the cases' masks, else None.

    Raises:
        ValueError: If the names given are not as many as the classes.
    """
    if given is not None:
        if isinstance(given, str) or (num_classes is not None and len(given) != num_classes):
            raise ValueError(
                f"class_names is {given!r}; expected {num_classes} names, one of each class: give a list of as many"
            )
        return [str(name) for name in given]
    return next((list(case["label"].names) for case in cases if isinstance(case.get("label"), ClassMasks)), None)


def check_class_names(cases: Iterable[Case], given: Sequence[str] | None) -> None:
    """Refuse names of classes that are not those of the cases' masks.

    Raises:
        ValueError: If they differ, or stand in another order.
    """
    known = class_names(cases)
    if given is not None and known is not None and [str(name) for name in given] != known:
        raise ValueError(f"class_names is {list(given)}; expected {known}, the data's: leave it out, or rename these")


def predicted_masks(folder: Path, case: str, names: Sequence[str]) -> ClassMasks:
    """The files of a case's predictions, ``<class>/<case>`` with any image's suffix.

    Raises:
        ValueError: If a class has no file of the case, or several.
    """
    sources: list[str | list[str] | Code | None] = []
    for name in names:
        path = folder / name / case
        found = sorted(p for p in path.parent.glob("*") if image_stem(p) == path.name) if path.parent.is_dir() else []
        if len(found) != 1:
            raise ValueError(
                f"{path}: there are {len(found)} files of this prediction; expected one with an image's suffix: predict "
                "it, or remove the others"
            )
        sources.append(instance_masks(found))
    return ClassMasks(tuple(names), tuple(sources))


def case_file(folder: str | os.PathLike, case: str, name: str, suffix: str) -> Path:
    """The file of a case's prediction of a class."""
    return Path(folder, name, *case.split("/")[:-1], case.split("/")[-1] + suffix)
