"""Writes small images of every kind for the tests of the data layer."""

from __future__ import annotations

import json
import locale
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_picture(path: Path, array: np.ndarray, **options: Any) -> Path:
    """A PNG, JPEG or TIFF of (H, W) or (H, W, C)."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI of (*S) or (*S, C)."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def write_nrrd(path: Path, array: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Path:
    """An NRRD of (W, H, D), in ITK's LPS frame."""
    import itk

    path.parent.mkdir(parents=True, exist_ok=True)
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing([float(size) for size in spacing])
    itk.imwrite(image, str(path))
    return path


def write_series(folder: Path, array: np.ndarray, uid: str = "1.2.3") -> Path:
    """A DICOM series of (W, H, D), 2 mm slices, files without suffix."""
    import itk

    folder.mkdir(parents=True, exist_ok=True)
    before = locale.setlocale(locale.LC_ALL)
    for index in range(array.shape[-1]):
        image = itk.image_from_array(np.ascontiguousarray(array[:, :, index : index + 1].T.astype(np.int16)))
        image.SetSpacing([1.0, 1.0, 2.0])
        image.SetOrigin([0.0, 0.0, 2.0 * index])
        tags = image.GetMetaDataDictionary()
        tags["0008|0060"] = "CT"
        tags["0020|000e"] = uid
        tags["0020|000d"] = "1.2.9"
        tags["0020|0013"] = str(index + 1)
        tags["0020|0032"] = f"0\\0\\{2 * index}"
        tags["0020|0037"] = "1\\0\\0\\0\\1\\0"
        writer = itk.ImageFileWriter.New(image)
        writer.SetImageIO(itk.GDCMImageIO.New(KeepOriginalUID=True))
        file = folder / f"{uid}.{index}.dcm"
        writer.SetFileName(str(file))
        writer.Update()
        file.rename(folder / f"{uid}.{index}")
    locale.setlocale(locale.LC_ALL, before)  # ITK's writer of DICOM changes it
    return folder


def write_json(path: Path, content: Any) -> Path:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def random_picture(seed: int = 0, size: tuple[int, ...] = (12, 16)) -> np.ndarray:
    """A uint8 picture of noise."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
