"""Masks of one image that may overlap: one of each class, from files or run-length codes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from .files import is_junk, list_images, safe_name
from .masks import to_label_map
from .matching import Case, composed, match_labels
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

    def as_text(self) -> str:
        """All of it as JSON, which a batch can hold."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> ClassMasks:
        """The masks that :meth:`as_text` has written."""
        found = json.loads(text)
        sources = [Code(**source) if isinstance(source, dict) else source for source in found["sources"]]
        return cls(tuple(found["names"]), tuple(sources))


def load_class_masks(masks: ClassMasks, image: MetaTensor) -> MetaTensor:
    """Reads the masks of an image.

    Args:
        masks: where they are.
        image: (C, *S), with the ``spatial_shape`` of its file, whose grid is that of codes.

    Returns:
        (classes, *S) uint8, 0 and 1, with the meta of the first file, or that of the image without files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a mask is unreadable, malformed, or of another size than the others.
    """
    channels: list[np.ndarray | None] = []
    first: tuple[str, Stored] | None = None
    for source in masks.sources:
        if source is None:
            channels.append(None)
        elif isinstance(source, Code):
            channels.append(_decoded(source, image))
        else:
            stored = read_masks(source)
            name = source if isinstance(source, str) else source[0]
            first = first or (name, stored)
            _check_grid(name, stored, *first)
            channels.append(to_label_map(stored.array, name, 2)[0])
    grid = tuple(int(n) for n in image.meta.get("spatial_shape", image.shape[1:]))
    shape = next((channel.shape for channel in channels if channel is not None), grid)
    found = np.stack([np.zeros(shape, np.uint8) if channel is None else channel for channel in channels])
    meta = dict(image.meta) if first is None else meta_of(first[1], first[0])
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(found)), meta=meta)


def _decoded(code: Code, image: MetaTensor) -> np.ndarray:
    """The mask (W, H) of a code."""
    grid = tuple(int(n) for n in image.meta.get("spatial_shape", image.shape[1:]))
    if len(grid) != 2:
        raise ValueError(f"{code.where}: is the code of a volume; expected a 2D image: store masks as files")
    width, height = grid
    return decode(code.text, (height, width), code.where).T


def _check_grid(name: str, stored: Stored, first_name: str, first: Stored) -> None:
    shape, expected = stored.array.shape[1:], first.array.shape[1:]
    if shape != expected:
        raise ValueError(
            f"{name}: has the shape {shape}; expected {expected}, that of {first_name}, a mask of the same image"
        )
    shift = displacement(stored.affine, first.affine, shape)
    if shift > 0.5:
        raise ValueError(
            f"{name}: lies {shift:.1f} voxels off {first_name} (the affines differ); resample one onto the other"
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
    cases: Iterable[Case],
    given: Sequence[str] | None = None,
    num_classes: int | None = None,
    multi_label: bool = False,
) -> list[str] | None:
    """The names of classes.

    Args:
        cases: the cases.
        given: names that a setting gives.
        num_classes: number of the classes, of label maps with the background; None: any.
        multi_label: whether the cases have a mask of each class; these have names in any case.

    Returns:
        The names: those given, those of the cases' masks, of other masks "1", "2", ..., of label maps None.

    Raises:
        ValueError: If the names given are not as many as the classes.
    """
    if given is not None:
        if isinstance(given, str) or num_classes not in (None, len(given)):
            raise ValueError(
                f"class_names is {given!r}; expected {num_classes} names, one of each class: give a list of as many"
            )
        return [str(name) for name in given]
    found = next((case["label"].names for case in cases if isinstance(case.get("label"), ClassMasks)), None)
    if found is None and multi_label and num_classes is not None:
        return [str(i + 1) for i in range(num_classes)]
    return None if found is None else list(found)


def check_class_names(cases: Iterable[Case], given: Sequence[str] | None) -> None:
    """Refuse names of classes that are not those of the cases' masks.

    Raises:
        ValueError: If they differ, or stand in another order.
    """
    known = class_names(cases)
    if given is not None and known is not None and [str(name) for name in given] != known:
        raise ValueError(f"class_names is {list(given)}; expected {known}, the data's: leave it out, or rename these")


def case_file(folder: str | os.PathLike, case: str, name: str, suffix: str) -> Path:
    """The file of a case's prediction of a class, ``<class>/<case>``."""
    *folders, last = map(safe_name, (name, *case.split("/")))
    return Path(folder, *folders, last + suffix)
