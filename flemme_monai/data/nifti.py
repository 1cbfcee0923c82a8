"""Reads NIfTI and Analyze files, and gives what is saved on their grid their header."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from .claims import check_compressed, check_held
from .refusal import RefusalError

if TYPE_CHECKING:
    import nibabel

HEADER_KEY = "nifti_header"
_HEADER_SIZE = 540  # of NIfTI-2; NIfTI-1's 348 bytes are padded, so that headers of both stack
_QFORM = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_SFORM = ("sform_code", "srow_x", "srow_y", "srow_z")
_TRAILING = 16 << 20  # bytes after the voxels that are still read to compare the checksum of a gzip file


def read_nifti(path: str, labels: bool = False) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Reads a NIfTI or Analyze file, or a pair of header and voxels, as it is stored.

    Args:
        path: ``.nii``, ``.nii.gz``, or either file of a ``.hdr``/``.img`` pair.
        labels: take values that a scale factor below 0.5 has moved off whole numbers, by at most half of it, as these.

    Returns:
        The array (C, X, Y) or (C, X, Y, Z) in the file's dtype, float64 where a scale factor applies; the affine
        (4, 4) to RAS mm; and the header's bytes as meta. Analyze files have no orientation: nibabel's is taken, x from
        right to left, and the centre as origin.

    Raises:
        RefusalError: If header and file contradict each other, or the voxels' place in space is not defined.
    """
    with _opened(path) as volume:
        rank = min(len(volume.shape), 3)
        affine = _affine(volume, rank)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by who reads an image
            array = np.asanyarray(volume.dataobj)
        slope = getattr(volume.dataobj, "slope", 1.0)
    if array.dtype.names:  # RGB, RGBA
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    array = array.reshape(*array.shape[:rank], *(size for size in array.shape[rank:] if size > 1), order="A")
    if rank < 2 or array.ndim > rank + 1:
        raise RefusalError(
            f"has the shape {_times(array.shape)}; expected 2 or 3 axes of space and one of channels: "
            "store its parts as files of their own"
        )
    array = array[None] if array.ndim == rank else np.moveaxis(array, -1, 0)
    if labels and array.dtype.kind == "f" and 0 < abs(slope) < 0.5:
        whole = np.rint(array)
        array = whole if (np.abs(array - whole) <= abs(slope) / 2).all() else array
    header = volume.header
    meta = {HEADER_KEY: header_bytes(header)} if _is_nifti(header) else {}
    return array, affine, meta


def check_affine(affine: np.ndarray, what: str, rank: int = 3) -> None:
    """Refuses an affine that places no grid in space.

    Args:
        affine: (4, 4).
        what: what it is called.
        rank: number of the grid's axes.

    Raises:
        RefusalError: If a value is NaN or Inf, or axes are of length 0 or lie in one plane.
    """
    columns = np.asarray(affine, dtype=np.float64)[:3, :rank]
    if np.isfinite(affine).all():
        lengths = np.sqrt(np.square(columns / max(np.abs(columns).max(), 1e-300)).sum(axis=0))
        if lengths.min() > 1e-8:
            unit = columns / np.abs(columns).max() / lengths
            if np.linalg.svd(unit, compute_uv=False).min() > 1e-3:
                return
    rows = "; ".join(" ".join(f"{value:g}" for value in row) for row in np.asarray(affine)[:3])
    raise RefusalError(f"{what} is degenerate ([{rows}]), so its voxels have no place in space: mend the header")


def header_bytes(header: nibabel.Nifti1Header) -> np.ndarray:
    """A header as MONAI's collation of meta takes it: uint8 (540,), little-endian."""
    content = header.as_byteswapped("<").binaryblock
    return np.frombuffer(content.ljust(_HEADER_SIZE, b"\0"), dtype=np.uint8).copy()


def header_of(meta: Mapping[str, Any]) -> nibabel.Nifti1Header | None:
    """The header of the file that an image comes from.

    Args:
        meta: an image's meta: of :func:`read_nifti`, or with the fields that MONAI's NibabelReader gives.

    Returns:
        The header, or None when the image comes from no NIfTI file.
    """
    import nibabel

    if HEADER_KEY in meta:
        content = np.asarray(meta[HEADER_KEY]).astype(np.uint8).tobytes()
        kind = nibabel.Nifti2Header if content[:2] == (540).to_bytes(2, "little") else nibabel.Nifti1Header
        return kind(content[: kind.sizeof_hdr], endianness="<", check=False)
    if not {"pixdim", *_QFORM, *_SFORM} <= meta.keys():
        return None
    header = nibabel.Nifti1Header()
    header["pixdim"] = np.asarray(meta.get("original_pixdim", meta["pixdim"]))  # MONAI turns pixdim with the image
    for name in {"dim", *_QFORM, *_SFORM, "xyzt_units"} & meta.keys():
        header[name] = np.asarray(meta[name])
    return header


def volume_like(values: np.ndarray, affine: np.ndarray, header: nibabel.Nifti1Header | None) -> nibabel.Nifti1Image:
    """A volume with the place in space, units and description of another.

    The qform, the sform and their codes are the other's, moved as ``affine`` moved from its affine. Without another
    both are ``affine`` with code 1 (scanner); an affine that shears has no qform.

    Args:
        values: (X, Y), (X, Y, Z) or (X, Y, Z, C).
        affine: (4, 4), their voxels to RAS mm.
        header: the other's.

    Returns:
        NIfTI-2 where the other is so or an axis is too long for NIfTI-1, else NIfTI-1.
    """
    import nibabel

    second = isinstance(header, nibabel.Nifti2Header) or max(values.shape) > np.iinfo(np.int16).max
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    own = kind.header_class()
    own.set_data_dtype(values.dtype)
    own.set_data_shape(values.shape)
    if header is None:
        own.set_xyzt_units("mm")
        _set_forms(own, affine, affine, 1, 1)
    else:
        own["xyzt_units"], own["descrip"] = header["xyzt_units"], header["descrip"]
        _place(own, affine, header)
    return kind(values, own.get_best_affine(), own)


def _place(own: nibabel.Nifti1Header, affine: np.ndarray, header: nibabel.Nifti1Header) -> None:
    """Set the forms of ``header`` in ``own``, moved as ``affine`` is moved from ``header``'s affine."""
    given = header.get_best_affine()
    moved = np.linalg.inv(given) @ affine  # voxels of own to voxels of the other
    if np.allclose(moved, np.eye(4), atol=1e-3):
        own["pixdim"][:4] = header["pixdim"][:4]
        for name in (*_QFORM, *_SFORM):
            own[name] = header[name]
        return
    sform, qform, codes = affine, affine, (int(header["qform_code"]), int(header["sform_code"]))
    if codes[0]:
        qform = header.get_qform() @ moved
    _set_forms(own, qform, sform, codes[0] or int(not codes[1]), codes[1])


def _set_forms(
    own: nibabel.Nifti1Header, qform: np.ndarray, sform: np.ndarray, qform_code: int, sform_code: int
) -> None:
    own.set_qform(qform, qform_code)
    if not np.allclose(np.linalg.solve(qform, own.get_qform()), np.eye(4), atol=1e-3):  # a qform has no shears
        own["qform_code"] = 0
        sform_code = sform_code or qform_code
    own.set_sform(sform, sform_code)


@contextmanager
def _opened(path: str) -> Iterator[nibabel.spatialimages.SpatialImage]:
    """A file as nibabel opens it, checked; the checksum of a gzip file is compared when the block ends."""
    import nibabel

    volume = nibabel.load(path)
    if not isinstance(volume, nibabel.AnalyzeImage):
        raise RefusalError(f"is a {type(volume).__name__} of nibabel; expected an image of voxels")
    voxels, file = volume.dataobj, volume.file_map["image"].filename
    assert isinstance(voxels, nibabel.arrayproxy.ArrayProxy), "nibabel reads voxels of a file when they are asked for"
    assert file is not None, "nibabel opened a file"
    if min(voxels.shape, default=0) < 1:
        raise RefusalError(f"has no voxels: its header claims the shape {_times(voxels.shape)}; replace it")
    if not os.path.exists(file):
        raise RefusalError(f"lacks its other half {os.path.basename(file)}, which holds the voxels; put it beside it")
    if voxels.offset < 0:
        raise RefusalError(f"says that its voxels begin at byte {voxels.offset}; it is damaged: replace it")
    claimed = voxels.offset + math.prod(map(int, voxels.shape)) * voxels.dtype.itemsize
    what = f"{_times(voxels.shape)} voxels of {voxels.dtype.name}"
    if not file.lower().endswith(".gz"):
        check_held(claimed, os.path.getsize(file), what)
        yield volume
        return
    check_compressed(claimed, file, what)
    with gzip.open(file) as stream:
        yield type(volume).from_file_map({"image": nibabel.FileHolder(file, stream)})
        trailing = 0
        while trailing < _TRAILING and (piece := stream.read(1 << 20)):
            trailing += len(piece)


def _affine(volume: nibabel.spatialimages.SpatialImage, rank: int) -> np.ndarray:
    """The affine (4, 4) of a volume, checked; of an image of two axes the third is their normal where it has none."""
    affine = np.array(volume.affine, dtype=np.float64)
    header = volume.header
    source = "the affine of its voxel sizes"
    if _is_nifti(header):
        codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
        source = next((f"its {name} (code {code})" for name, code in codes.items() if code > 0), source)
    check_affine(affine, source, rank)
    if rank == 2 and not affine[:3, 2].any():
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / np.linalg.norm(normal)
    return affine


def _is_nifti(header: nibabel.spatialimages.SpatialHeader) -> TypeGuard[nibabel.Nifti1Header]:
    import nibabel

    return isinstance(header, nibabel.Nifti1Header)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
