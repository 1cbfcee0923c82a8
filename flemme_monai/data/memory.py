"""The memory that cases take after the deterministic transforms, told from their headers and one of them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .dicom_header import read_header
from .files import image_kind, is_junk
from .itk_files import itk_geometry

MEMORY_SHARE = 0.5  # of the available memory that one data set may take
_HEADERS = 200  # that are read at most
_UNLIMITED = 1 << 60  # as control groups write a limit that is none


def forecast(cases: Sequence[Mapping[str, Any]], transforms: Iterable[Any]) -> tuple[int, float]:
    """The largest case, and how many times its memory all take.

    Of many cases some headers are read, evenly chosen. A resize to one size and a resampling to one spacing are
    reckoned with; whatever else changes sizes, such as a crop to the foreground, is taken to change all alike.

    Args:
        cases: items, see ``flemme_monai.data.split_datalist``.
        transforms: those that run once per case.

    Returns:
        The index of the largest of the cases whose headers were read, and the factor.
    """
    shown = np.unique(np.linspace(0, len(cases) - 1, min(len(cases), _HEADERS)).round().astype(int))
    laws = list(transforms)
    known = [_voxels(cases[index]["image"], laws) for index in shown]
    typical = float(np.mean([voxels for voxels in known if voxels] or [1.0]))
    voxels = np.array([found or typical for found in known])
    largest = int(voxels.argmax())
    return int(shown[largest]), float(voxels.mean() / voxels[largest]) * len(cases)


def _voxels(image: Any, transforms: Iterable[Any]) -> float | None:
    """Voxels of an image after the transforms, up to a factor that all have; None where its header does not say it."""
    found = geometry(image)
    if found is None:
        return None
    size, spacing = (list(values) for values in found)
    for transform in transforms:
        target, pixdim = getattr(transform, "spatial_size", None), _pixdim(transform)
        if "Resize" in type(transform).__name__ and target is not None:
            fixed = [target] * len(size) if isinstance(target, int) else list(target)[: len(size)]
            size[: len(fixed)] = [new if new > 0 else old for new, old in zip(fixed, size)]
        elif pixdim is not None:
            new = [value if value > 0 else old for value, old in zip(pixdim, spacing)]
            size = [length * old / value for length, old, value in zip(size, spacing, new)]
            spacing = new
    return math.prod(size)


def _pixdim(transform: Any) -> Sequence[float] | None:
    """The spacing that a Spacingd brings images to."""
    if type(transform).__name__ != "Spacingd":
        return None
    return [float(value) for value in np.ravel(transform.spacing_transform.pixdim)]


def geometry(image: Any) -> tuple[Sequence[float], Sequence[float]] | None:
    """Size and spacing of an image, read from its header alone.

    Args:
        image: a path, the folder of a series, one path per channel, or an image in memory (C, *S).

    Returns:
        The length of each axis in voxels and in mm per voxel; None where the header does not say it.
    """
    if isinstance(image, torch.Tensor | np.ndarray):
        return tuple(image.shape[1:]), (1.0,) * (image.ndim - 1)
    path = os.fspath(image[0] if isinstance(image, list) else image)
    read = {"picture": _of_picture, "nifti": _of_nifti, "itk": itk_geometry, "dicom": _of_series}
    try:
        return read[image_kind(path)](path)
    except Exception:  # what is wrong with the file is said when the case is loaded
        return None


def _of_picture(path: str) -> tuple[Sequence[float], Sequence[float]]:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.size, (1.0, 1.0)


def _of_nifti(path: str) -> tuple[Sequence[float], Sequence[float]]:
    import nibabel

    volume = nibabel.load(path)
    assert isinstance(volume, nibabel.spatialimages.SpatialImage), "nibabel reads images"
    return volume.shape[:3], tuple(map(float, volume.header.get_zooms()[:3]))


def _of_series(path: str) -> tuple[Sequence[float], Sequence[float]]:
    files = [entry.path for entry in os.scandir(path) if entry.is_file() and not is_junk(entry.name)]
    header = read_header(sorted(files)[len(files) // 2])
    return (*header.size, len(files)), (*(header.spacing or (1.0, 1.0)), 1.0)


def item_bytes(item: Any) -> int:
    """Bytes of all tensors and arrays in an item."""
    if isinstance(item, torch.Tensor | np.ndarray):
        return int(item.nbytes)
    if isinstance(item, Mapping):
        return sum(map(item_bytes, item.values()))
    return sum(map(item_bytes, item)) if isinstance(item, list | tuple) else 0


def available_bytes() -> int | None:
    """Memory that this process may still take: the machine's, its control group's if less, shared by ``torchrun``.

    Returns:
        Bytes; None where the system does not say it.
    """
    found = _from_meminfo()
    if found is None:
        return None
    for limit, used, cache in _LIMITS:
        try:
            most, taken = int(Path(limit).read_text(encoding="utf-8")), int(Path(used).read_text(encoding="utf-8"))
            fields = dict(line.split() for line in Path(cache).read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError):  # no such control group, or "max"
            continue
        if most < _UNLIMITED:
            found = min(found, max(most - taken + int(fields.get("inactive_file", 0)), 0))
    return found // max(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)


_GROUP = "/sys/fs/cgroup/"
_LIMITS = (
    tuple(_GROUP + name for name in ("memory.max", "memory.current", "memory.stat")),
    tuple(_GROUP + f"memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
)


def _from_meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":") for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
