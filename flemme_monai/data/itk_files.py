"""What ITK reads and writes: NRRD, MetaImage, deep PNG; from one thread at a time, without ITK's own warnings."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from monai.data import ITKReader

from .nifti import check_affine
from .refusal import RefusalError
from .text_headers import check_metaimage, check_nrrd

ITK_LOCK = threading.Lock()  # ITK loads its modules on first use, which is not safe in several threads


@contextmanager
def quiet_itk() -> Iterator[None]:
    """No warnings of ITK's on the error stream while the block runs, which must hold ``ITK_LOCK``."""
    import itk

    shown = itk.Object.GetGlobalWarningDisplay()
    itk.Object.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        itk.Object.SetGlobalWarningDisplay(shown)


def read_itk(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads an NRRD or MetaImage file as it is stored.

    Args:
        path: the file.

    Returns:
        The array (C, X, Y) or (C, X, Y, Z) in the file's dtype, and the affine (4, 4) to RAS mm.

    Raises:
        RefusalError: If header and file contradict each other, or the voxels' place in space is not defined.
    """
    (check_nrrd if path.lower().endswith("nrrd") else check_metaimage)(path)
    with ITK_LOCK, quiet_itk():
        array, meta = _read(path)
    given = np.asarray(meta["affine"], dtype=np.float64)
    rank = len(given) - 1
    affine = np.eye(4)
    affine[:rank, :rank], affine[:rank, 3] = given[:rank, :rank], given[:rank, -1]
    check_affine(affine, "the affine of its directions and spacings", rank)
    if array.ndim > rank + 1:
        raise RefusalError(f"has {array.ndim} axes; expected {rank} of space and one of channels")
    return array[None] if array.ndim == rank else np.moveaxis(array, -1, 0), affine


def itk_geometry(path: str) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """The length of each axis of an NRRD or MetaImage file, in voxels and in mm per voxel, read from its header alone.

    Args:
        path: the file.

    Returns:
        Both; None where ITK does not know the header.

    Raises:
        RefusalError: If header and file contradict each other.
    """
    (check_nrrd if path.lower().endswith("nrrd") else check_metaimage)(path)
    with ITK_LOCK, quiet_itk():
        header = _header(path)
        if header is None:
            return None
        axes = range(header.GetNumberOfDimensions())
        return tuple(header.GetDimensions(axis) for axis in axes), tuple(header.GetSpacing(axis) for axis in axes)


def write_deep_png(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes a picture of several channels with 16 bits each.

    Args:
        path: ends in ``.png``.
        array: (H, W, C) uint16, C from 2 to 4.
    """
    import itk

    with ITK_LOCK, quiet_itk():
        itk.imwrite(itk.image_view_from_array(array, is_vector=True), os.fspath(path))


def _header(path: str) -> Any:
    """What reads the file in ITK, after it has read the header; None where ITK does not know it."""
    import itk

    header = itk.ImageIOFactory.CreateImageIO(path, itk.CommonEnums.IOFileMode_ReadMode)
    if header is not None:
        header.SetFileName(path)
        header.ReadImageInformation()
    return header


def _read(path: str) -> tuple[np.ndarray, dict]:
    """The array (X, Y, Z, C) and meta as MONAI's ITKReader gives them, also of types that ITK's package lacks."""
    import itk

    header = _header(path)
    if header is None:
        raise RefusalError("cannot be read: ITK does not know its header; it is damaged: replace it")
    if "complex" in header.GetPixelTypeAsString(header.GetPixelType()):
        raise RefusalError("voxels are complex; expected real numbers")
    component = header.GetComponentTypeAsString(header.GetComponentType())
    reader = ITKReader()
    if header.GetNumberOfComponents() > 1:
        kinds = {"unsigned_char": itk.UC, "short": itk.SS, "unsigned_short": itk.US, "float": itk.F, "double": itk.D}
        if component not in kinds:
            raise RefusalError(f"has channels of {component}; store each channel as a file")
        image = itk.VectorImage[kinds[component], header.GetNumberOfDimensions()]
        source = itk.ImageFileReader[image].New(FileName=path)
        source.Update()
        return reader.get_data(source.GetOutput())
    if component in ("long_long", "long"):  # read with wrapped signs, which the view undoes
        array, meta = reader.get_data(reader.read(path, pixel_type=itk.ULL))
        return array.view(np.int64), meta
    return reader.get_data(
        reader.read(path, **({"pixel_type": itk.SS} if component in ("char", "signed_char") else {}))
    )
