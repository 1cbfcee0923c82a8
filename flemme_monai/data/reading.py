"""Reads an image file or DICOM series with the reader for its kind, channel first and in RAS orientation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from .dicom import read_series
from .dicom_grid import SeriesError
from .files import image_kind, image_suffix
from .itk_files import ITK_LOCK, read_itk
from .nifti import read_nifti
from .pictures import read_picture
from .refusal import RefusalError

_RAS = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))


class Stored(NamedTuple):
    """A file's content as it is stored.

    Attributes:
        array: (C, W, H) of a 2D image or (C, *S) of a volume, in the file's dtype.
        affine: (4, 4), voxels to RAS mm; identity for pictures.
        meta: what the format knows beyond these, in types that MONAI's collation takes. NIfTI: ``nifti_header``, the
            header's bytes, little-endian and padded with zeros to 540 (the size of NIfTI-2's, so that batches stack).
    """

    array: np.ndarray
    affine: np.ndarray
    meta: dict[str, Any]


def read_stored(path: str | os.PathLike, indexed: bool = False) -> Stored:
    """Reads a file as it is stored.

    Args:
        path: an image file, or the folder of a DICOM series.
        indexed: it is a label map: keep the indices of a picture with a palette instead of its colours, and take what a
            NIfTI's scale factor has moved off whole numbers as these.

    Returns:
        The array, its affine and what else the format knows.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the system does not let it be read.
        ValueError: If the file is damaged, holds several pages or series, or is not of the kind its suffix says.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    kind = image_kind(path)
    affine = np.eye(4)
    meta: dict[str, Any] = {}
    try:
        if kind == "picture":
            array = read_picture(path, indexed)
        elif kind == "nifti":
            array, affine, meta = read_nifti(path, labels=indexed)
        elif kind == "itk":
            array, affine = read_itk(path)
        elif kind == "fastmri":
            from .fastmri import read_fastmri  # which lists files as data sets do

            array = read_fastmri(path)
        else:
            with ITK_LOCK:
                array, affine = read_series(path)
            array = array[None] if array.ndim == 3 else np.moveaxis(array, -1, 0)
    except (ImportError, SeriesError):
        raise
    except RefusalError as error:
        raise ValueError(f"{path}: {error}") from None
    except MemoryError:
        raise ValueError(f"{path}: the memory does not suffice to read it; crop or resample it") from None
    except Exception as error:
        _refuse_unreadable(path)
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        what = "a DICOM series" if kind == "dicom" else image_suffix(path)
        raise ValueError(
            f"{path}: cannot be read as {what} ({type(error).__name__}: {reason}); it is damaged, cut short or of "
            "another kind: replace it"
        ) from None
    return Stored(array.astype(array.dtype.newbyteorder("="), copy=False), affine, meta)


def _refuse_unreadable(path: str) -> None:
    """Raise what the system has against reading a file, or one of a folder, which readers do not tell from damage."""
    for file in [entry.path for entry in os.scandir(path) if entry.is_file()] if os.path.isdir(path) else [path]:
        try:
            with open(file, "rb") as stream:
                stream.read(1)
        except OSError as error:
            raise OSError(f"{file}: cannot be read ({error.strerror}): make it readable, or replace it") from None


def read_array(path: str | os.PathLike, indexed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The array and affine of :func:`read_stored`, which says what the arguments are and what is raised."""
    return read_stored(path, indexed)[:2]


def read_channels(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> Stored:
    """Reads an image, or one file per channel, as it is stored.

    Args:
        paths: an image file or DICOM folder, or a list of them: the channels of one image.

    Returns:
        The array with the channels of all files, in the dtype that holds them all; affine and meta of the first file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is unreadable, holds NaN or Inf, or the channels' shapes or affines differ.
    """
    names = _names(paths)
    files = [read_stored(name) for name in names]
    for name, stored in zip(names, files):
        if stored.array.dtype.kind not in "biuf":
            raise ValueError(f"{name}: voxels are {stored.array.dtype}; expected real numbers")
        if stored.array.dtype.kind == "f":
            check_finite(torch.from_numpy(np.ascontiguousarray(stored.array, dtype=np.float32)), name)
    _check_one_grid(names, files, "the channels")
    if len(files) == 1:
        return files[0]
    return files[0]._replace(array=np.concatenate([stored.array for stored in files]))


def read_masks(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> Stored:
    """Reads a label map, or the masks of one image's instances, as they are stored.

    Args:
        paths: a file, or one file per instance.

    Returns:
        The array, of several files the highest value of each pixel; affine and meta of the first file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is unreadable, shapes or affines differ, or one of several masks has channels.
    """
    names = _names(paths)
    files = [read_stored(name, indexed=True) for name in names]
    if len(files) == 1:
        return files[0]
    _check_one_grid(names, files, "the masks")
    several = next((name for name, stored in zip(names, files) if len(stored.array) > 1), None)
    if several:
        raise ValueError(f"{several}: has several channels; a mask beside others of its image has one, 0 outside")
    return files[0]._replace(array=np.maximum.reduce([stored.array for stored in files]))


def read_image(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> MetaTensor:
    """Reads an image, or one file per channel, in RAS orientation when it is a volume.

    Args:
        paths: an image file or DICOM folder, or a list of them: the channels of one image.

    Returns:
        float32 (C, W, H) or (C, *S), without a record of applied operations. Its meta is that of :func:`meta_of`, with
        ``affine`` turned.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is unreadable, holds NaN or Inf, or the channels' shapes or affines differ.
    """
    stored = read_channels(paths)
    first = os.fspath(paths if isinstance(paths, (str, os.PathLike)) else paths[0])
    image = MetaTensor(torch.from_numpy(np.ascontiguousarray(stored.array, np.float32)), meta=meta_of(stored, first))
    if image.ndim == 4:
        turned = _RAS(image).contiguous()
        assert isinstance(turned, MetaTensor), "Orientation keeps the meta"
        turned.applied_operations = []
        return turned
    return image


def meta_of(stored: Stored, name: str) -> dict[str, Any]:
    """The meta of MONAI's MetaTensor for a file as it is stored.

    Args:
        stored: the file's content.
        name: its path.

    Returns:
        ``affine``, ``original_affine``, ``spatial_shape`` and ``original_dtype`` as stored in the file,
        ``filename_or_obj``, and the ``meta`` of :func:`read_stored`.
    """
    return {
        "affine": torch.as_tensor(stored.affine, dtype=torch.float64),
        "original_affine": torch.as_tensor(stored.affine, dtype=torch.float64),
        "spatial_shape": np.asarray(stored.array.shape[1:]),
        "original_dtype": stored.array.dtype.newbyteorder("=").name,
        "original_channel_dim": 0,
        "filename_or_obj": name,
        "space": "RAS",
        **stored.meta,
    }


def check_finite(data: torch.Tensor, name: str) -> None:
    """Refuses an image with NaN or Inf.

    Args:
        data: the image.
        name: its path, for the error.

    Raises:
        ValueError: If a voxel is NaN or Inf.
    """
    bad = data.numel() - int(torch.isfinite(data).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {data.numel()} voxels are NaN or Inf; replace them in the file")


def displacement(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """The largest distance between the corners of one grid under two affines.

    Args:
        affine: (4, 4), voxels to mm.
        other: (4, 4), voxels to mm.
        shape: the grid's size in voxels.

    Returns:
        The distance in units of the larger affine's longest voxel edge.
    """
    size = [*shape, 1, 1, 1][:3]
    corners = np.array([[*np.multiply(index, np.subtract(size, 1)), 1] for index in np.ndindex(2, 2, 2)]).T
    distance = np.linalg.norm(((affine - other) @ corners)[:3], axis=0).max()
    return float(distance / max(np.linalg.norm(affine[:3, :3], axis=0).max(), 1e-12))


def _names(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    return [os.fspath(paths)] if isinstance(paths, (str, os.PathLike)) else [os.fspath(path) for path in paths]


def _check_one_grid(names: Sequence[str], files: Sequence[Stored], what: str) -> None:
    first = files[0]
    for name, (array, affine, _) in zip(names[1:], files[1:]):
        if array.shape[1:] != first.array.shape[1:]:
            raise ValueError(
                f"{name}: has the shape {_times(array.shape[1:])}; expected {_times(first.array.shape[1:])}, that of "
                f"{names[0]}; {what} of one image must have one shape"
            )
        shift = displacement(affine, first.affine, array.shape[1:])
        if shift > 0.5:
            raise ValueError(
                f"{name}: lies {shift:.1f} voxels off {names[0]} (the affines differ); resample one onto the other"
            )


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
