"""Reads the one DICOM series of a folder, after checking that its slices make one volume."""

from __future__ import annotations

import filecmp
import logging
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .dicom_grid import LPS_TO_RAS, SeriesError, directions, regular_grid, some_names
from .dicom_header import Header, read_header
from .files import is_dicom, is_junk

if TYPE_CHECKING:
    import itk

_logger = logging.getLogger(__name__)
_COMPRESSION = 200  # how many times smaller than their images compressed pixel data can be,
_SMALL = 2**26  # unless the images are smaller than this many bytes


def read_series(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the DICOM series of a folder, slices in the order of their positions along the slices' normal.

    Each slice's own rescale slope and intercept are applied to it; the dtype holds the values of all slices.
    MONOCHROME1 is turned over, so that bright is high. The affine keeps the shear of a tilted gantry. Files that repeat
    another byte by byte are passed over, for it does not matter which of them is kept; so is what is no DICOM, or DICOM
    without an image. ITK loads its modules on first use, which is not safe in several threads: the caller holds a lock.

    Args:
        folder: the folder.

    Returns:
        The array (W, H, D), or (W, H, D, 3) in colour, and its affine (4, 4) to RAS mm.

    Raises:
        SeriesError: If the files are several series, are not the slices of one grid (a gap, several phases, mixed
            orientations, spacings or sizes), hold several frames each, claim more than they hold, or are damaged.
    """
    slices = _without_copies(folder, _images(folder))
    _check_one_series(folder, slices)
    for header in slices:
        if header.frames > 1 or header.mosaic:
            what = f"{header.frames} frames" if header.frames > 1 else "a mosaic of slices"
            raise SeriesError(f"{folder}: {header.name} holds {what} in one file; convert it to NIfTI (with dcm2niix)")
    _check_alike(folder, slices, "sizes", lambda header: f"{header.size[0]}x{header.size[1]}")
    _check_alike(folder, slices, "photometric interpretations", lambda header: header.photometric or "none")
    _check_memory(folder, slices)
    if len(slices) == 1:  # an X-ray, for instance, which may have no position
        if slices[0].orientation and slices[0].spacing:
            directions(folder, slices[0])
        return _decode(folder, slices)
    slices, affine = regular_grid(folder, slices)
    return _decode(folder, slices)[0], affine


def _images(folder: str) -> list[Header]:
    """The headers of a folder's images, in the order of the files' names."""
    headers, foreign = [], []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if is_junk(name) or os.path.isdir(path):
            continue
        if not os.path.exists(path):
            raise SeriesError(f"{folder}: {name} is a link to a file that does not exist")
        if not is_dicom(path):
            foreign.append(name)
            continue
        try:
            headers.append(read_header(path))
        except ValueError as error:
            raise SeriesError(f"{folder}: cannot be read as a DICOM series: {name} {error}") from None
    images = [header for header in headers if header.frames]
    kinds = {header.sop_class for header in images}
    others = [header.name for header in headers if not header.frames]
    cut = [header.name for header in headers if not header.frames and header.sop_class in kinds]
    if cut or not images:
        found = f"no image in {some_names(cut or others)}" if headers else "no DICOM file"
        raise SeriesError(f"{folder}: cannot be read as a DICOM series: {found}")
    for names, what in ((foreign, "no DICOM"), (others, "DICOM without an image")):
        if names:
            _logger.info("%s: passed over %s (%s)", folder, some_names(names), what)
    return images


def _without_copies(folder: str, slices: Sequence[Header]) -> list[Header]:
    """Drops files that repeat another byte by byte; refuses different files that call themselves the same image."""
    first: dict[object, Header] = {}
    kept, copies = [], []
    for header in slices:
        other = first.setdefault(header.sop_uid or header.position, header)
        if other is header:
            kept.append(header)
        elif filecmp.cmp(header.path, other.path, shallow=False):
            copies.append(header.name)
        elif not header.sop_uid:
            kept.append(header)
        else:
            raise SeriesError(
                f"{folder}: {other.name} and {header.name} have the same SOPInstanceUID and different contents; "
                "remove the one that is wrong"
            )
    if copies:
        _logger.warning("%s: passed over %s (copies of other slices, byte by byte)", folder, some_names(copies))
    return kept


def _check_one_series(folder: str, slices: Sequence[Header]) -> None:
    series: defaultdict[str, list[Header]] = defaultdict(list)
    for header in slices:
        series[header.series].append(header)
    if len(series) > 1:
        each = "; ".join(
            f"{found[0].description or name}: {some_names([header.name for header in found])}"
            for name, found in list(series.items())[:4]
        )
        raise SeriesError(f"{folder}: holds {len(series)} DICOM series; put each in a folder of its own ({each})")


def _check_alike(folder: str, slices: Sequence[Header], what: str, key: Callable[[Header], str]) -> None:
    """Refuses slices that differ from most of the others."""
    counts = Counter(map(key, slices)).most_common(2)
    if len(counts) > 1:
        (usual, _), (other, _) = counts
        raise SeriesError(
            f"{folder}: the slices have several {what}: "
            f"{other} in {some_names([header.name for header in slices if key(header) == other])}, "
            f"{usual} in {some_names([header.name for header in slices if key(header) == usual])}; "
            "put slices of one kind in a folder of their own"
        )


def _check_memory(folder: str, slices: Sequence[Header]) -> None:
    """Refuses compressed images that are stored in less than any image of their size is."""
    compressed = [header for header in slices if header.compressed]
    claimed, stored = (
        sum(getattr(header, name) for header in compressed) for name in ("claimed_bytes", "stored_bytes")
    )
    if claimed > max(_SMALL, _COMPRESSION * stored):
        raise SeriesError(
            f"{folder}: {some_names([header.name for header in compressed])} claim images of {claimed} bytes and hold "
            f"{stored} of compressed data; they are damaged: replace them"
        )


def _decode(folder: str, slices: Sequence[Header]) -> tuple[np.ndarray, np.ndarray]:
    """Decodes slices with ITK, each by its own slope and intercept.

    Returns:
        The array (W, H, D) or (W, H, D, 3), and the affine (4, 4) of the first slice to RAS mm.
    """
    import itk

    shown = itk.Object.GetGlobalWarningDisplay()
    itk.Object.SetGlobalWarningDisplay(False)
    volume, affine = np.empty(0), np.eye(4)
    try:
        for index, header in enumerate(slices):
            try:
                with _codec_messages(header):
                    image = itk.imread(header.path, imageio=itk.GDCMImageIO.New())
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].rsplit("): ", 1)[-1]  # without the C++ object's address
                raise SeriesError(
                    f"{folder}: cannot be read as a DICOM series: ITK cannot decode {header.name} ({reason}); it is "
                    "damaged, or compressed in a way that ITK does not know"
                ) from None
            pixels = itk.array_view_from_image(image)[0]  # (H, W) or (H, W, 3)
            if pixels.shape[1::-1] != header.size:
                raise SeriesError(
                    f"{folder}: {header.name} claims {header.size[0]}x{header.size[1]} pixels and holds "
                    f"{pixels.shape[1]}x{pixels.shape[0]}; it is damaged: replace it"
                )
            if index == 0:
                volume, affine = np.empty((len(slices), *pixels.shape), pixels.dtype), _itk_affine(image)
            volume = volume.astype(np.result_type(volume.dtype, pixels.dtype), copy=False)
            volume[index] = pixels
    finally:
        itk.Object.SetGlobalWarningDisplay(shown)
    return volume.swapaxes(0, 2), affine  # (D, H, W[, 3]) -> (W, H, D[, 3])


@contextmanager
def _codec_messages(header: Header) -> Iterator[None]:
    """Logs what ITK's decompressors write to the process's error stream, past Python and past ITK's own settings."""
    if not header.compressed:
        yield
        return
    with tempfile.TemporaryFile() as written:
        stream = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stream, 2)
            os.close(stream)
            written.seek(0)
            lines = written.read().decode(errors="replace").splitlines()
            for line in dict.fromkeys(lines):  # each once
                _logger.warning("%s: %s", header.path, line)


def _itk_affine(image: itk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:3, 3] = np.asarray(image.GetOrigin())
    return LPS_TO_RAS @ affine
