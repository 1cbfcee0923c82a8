"""How the folders inside of a data set are called: images, labels or targets, modalities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai.utils import ensure_tuple

from .files import list_images
from .matching import Case, by_stem, relative_stem

IMAGE_FOLDERS = ("images", "imagesTr")
MASK_FOLDERS = ("masks", "labels", "labelsTr")
INPUT_FOLDERS = ("inputs",)
TARGET_FOLDERS = ("targets",)


@dataclass(frozen=True)
class FolderNames:
    """The names by which folders are found.

    Args:
        images: of the folder of images, of which a data set has one.
        labels: of that of labels, or of the targets of a reconstruction.
        modalities: of the folders of a channel each; empty for one folder of images.
    """

    images: tuple[str, ...] = IMAGE_FOLDERS
    labels: tuple[str, ...] = MASK_FOLDERS
    modalities: tuple[str, ...] = ()


def folder_names(
    image_folders: str | Sequence[str] | None = None, label_folder: str | None = None, pairs: bool = False
) -> FolderNames:
    """The names that are set, and the usual ones of what is not.

    Args:
        image_folders: the name of the folder of images, or one name per modality.
        label_folder: the name of the folder of labels or targets.
        pairs: of a reconstruction from given pairs.

    Raises:
        ValueError: If a name is none.
    """
    given = ensure_tuple(image_folders) if image_folders else ()
    for name in (*given, *([label_folder] if label_folder else [])):
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{name!r} names no folder in that of the data set; expected one name, such as 'raw'")
    usual = FolderNames(INPUT_FOLDERS, TARGET_FOLDERS) if pairs else FolderNames()
    images = given[:1] if len(given) == 1 else usual.images
    return FolderNames(images, (label_folder,) if label_folder else usual.labels, given if len(given) > 1 else ())


def modality_cases(folders: Sequence[Path], in_channels: int) -> dict[str, Case]:
    """Cases by name, each with a file of every modality as its channels.

    Files of one case have one name, which may end in the name of their folder: ``flair/p1_flair.nii.gz`` beside
    ``t1/p1_t1.nii.gz``.

    Args:
        folders: one per modality.
        in_channels: number of image channels.

    Raises:
        ValueError: If there are more or fewer folders than channels, or a case lacks a modality.
    """
    if len(folders) != in_channels:
        raise ValueError(
            f"{folders[0].parent}: {len(folders)} folders of modalities while in_channels is {in_channels}; expected "
            f"one per channel: set in_channels to {len(folders)}"
        )
    found = [_by_case(folder) for folder in folders]
    cases: dict[str, Case] = {}
    for name in found[0]:
        lacking = [folder for folder, files in zip(folders, found) if name not in files]
        if lacking:
            raise ValueError(f"{lacking[0]}: has no image of case {name}; add it, or remove {found[0][name]}")
        cases[name] = {"image": [str(files[name]) for files in found], "case": name}
    stray = [files[name] for files in found[1:] for name in files if name not in cases]
    if stray:
        raise ValueError(f"{stray[0]}: no image in {folders[0]} has this name; add it, or remove this one")
    return cases


def _by_case(folder: Path) -> Mapping[str, Path]:
    """The files of a modality by the names of their cases."""
    ending = re.compile(rf"[_\-. ]{re.escape(folder.name)}$", re.IGNORECASE)
    paths = list_images(folder)
    by_stem(paths, folder, f"image of {folder.name}")
    return {ending.sub("", relative_stem(path, folder)): path for path in paths}
