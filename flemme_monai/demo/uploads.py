"""Files that a visitor gives: bounded before they are decoded, and read by the package's readers alone."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel
from PIL import Image

from ..data.dicom_header import read_header
from ..data.files import DICOM_SUFFIXES, PICTURE_SUFFIXES, image_suffix, is_dicom
from ..data.predictions import safe_name
from .limits import Limits

PICTURES = tuple(suffix for suffix in PICTURE_SUFFIXES if suffix != ".bmp")
VOLUMES = (".nii", ".nii.gz")
UPLOAD_SUFFIXES = (*PICTURES, *VOLUMES, *DICOM_SUFFIXES)
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB")  # that the reader of pictures knows
_KINDS = "a PNG, JPEG, TIFF or NIfTI file, or the DICOM files of one series"


def take_upload(files: Sequence[str | os.PathLike], folder: Path, limits: Limits) -> Path:
    """Copy an upload into a folder of its own, whose former content goes, and bound it by what its headers claim.

    Args:
        files: one picture or NIfTI, or the DICOM files of a series.
        folder: made where it is missing.
        limits: of its bytes, files and voxels.

    Returns:
        The image's path: a file, or the folder of a series.

    Raises:
        ValueError: If it is of another kind, or larger than the limits.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError(f"nothing was uploaded; expected {_KINDS}: choose a file")
    if len(paths) > limits.files:
        raise ValueError(f"the upload has {len(paths)} files; expected at most {limits.files}: leave some out")
    limits.check_bytes(sum(path.stat().st_size for path in paths))
    dicom = [path for path in paths if _kind(path) == "dicom"]
    if len(paths) > 1 and len(dicom) < len(paths):
        other = next(path for path in paths if path not in dicom)
        raise ValueError(f"{other.name}: is one of {len(paths)} files and no DICOM; expected {_KINDS}: give it alone")
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "series" if dicom else folder
    target.mkdir(parents=True)
    for index, path in enumerate(paths):
        name = f"{index:05d}.dcm" if dicom else safe_name(path.name)
        shutil.copyfile(path, target / name)
    image = target if dicom else target / safe_name(paths[0].name)
    limits.check_voxels(sum(map(_dicom_voxels, sorted(target.iterdir()))) if dicom else _claimed_voxels(image))
    return image


def _kind(path: Path) -> str:
    """The kind of an upload's file.

    Raises:
        ValueError: If it is none that is taken.
    """
    suffix = image_suffix(path)
    if suffix in PICTURES:
        return "picture"
    if suffix in VOLUMES:
        return "nifti"
    if not suffix and is_dicom(path):
        return "dicom"
    raise ValueError(f"{path.name}: is of another kind; expected {_KINDS}: convert it")


def _claimed_voxels(path: Path) -> int:
    """The pixels or voxels that a file's header claims; 0 where it is unreadable, which reading it says better."""
    try:
        if image_suffix(path) in VOLUMES:
            count = 1
            for length in nibabel.load(path).shape:  # type: ignore[attr-defined]  # a NIfTI image has one
                count *= length
            return count
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return picture.width * picture.height
    except Exception:  # a damaged file raises any kind
        return 0


def _dicom_voxels(path: Path) -> int:
    try:
        header = read_header(str(path))
    except (ValueError, OSError):
        return 0
    return header.size[0] * header.size[1] * max(1, header.frames)
