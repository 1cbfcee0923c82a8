"""Files that a run leaves: tables, pictures, animations, volumes; each replaces an older one whole or not at all."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from monai.transforms import Orientation

from .data.itk_files import write_deep_png
from .data.nifti import check_affine, header_of, volume_like
from .data.refusal import RefusalError
from .utils import atomic_write, text_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from monai.data import MetaTensor

_logger = logging.getLogger(__name__)


def cell(value: float) -> str:
    """A number of a table, empty where it is NaN."""
    return "" if isnan(value) else f"{value:.6g}"


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table; its folder must exist."""
    with text_file(path) as file:
        csv.writer(file).writerows([header, *rows])


def write_figure(path: Path, figure: Figure) -> None:
    """Write a matplotlib figure as PNG with 100 dpi."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=100, format="png")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W) or (H, W, C), uint8 or uint16, as PNG; C from 2 to 4."""
    from PIL import Image

    pixels = np.ascontiguousarray(pixels)
    with atomic_write(path) as part:
        if pixels.ndim == 3 and pixels.dtype == np.uint16:  # of which Pillow keeps 8 bits
            write_deep_png(part, pixels)
        else:
            Image.fromarray(pixels).save(part)


def write_gif(path: Path, frames: Sequence[np.ndarray], durations: Sequence[int]) -> None:
    """Write frames (H, W) or (H, W, 3), uint8, as an animation that repeats, each shown for some ms."""
    from PIL import Image

    first, *others = map(Image.fromarray, frames)
    with atomic_write(path) as part:
        first.save(part, save_all=True, append_images=others, duration=list(durations), loop=0)


def write_image(path: Path, values: np.ndarray) -> None:
    """Write an image as PNG.

    ``monai.data.PILWriter`` saves by Pillow, which keeps 8 bits of several channels, and in place, so that a process
    that dies leaves half a file.

    Args:
        path: ends in ``.png``.
        values: (C, W, H), 1 channel is gray, 3 are red, green, blue, 4 have alpha; integers, or floats from 0 to 1.

    Raises:
        ValueError: If a PNG cannot hold so many channels.
    """
    if len(values) > 4:
        raise ValueError(
            f"{path} cannot be written: a PNG holds up to 4 channels, this has {len(values)}; give the images as NIfTI"
        )
    pixels = values[0].T if len(values) == 1 else values.T  # (H, W) or (H, W, C)
    if pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(pixels, 0, 1) * 255)
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = np.clip(pixels, 0, 65535).astype(np.uint8 if pixels.max() < 256 else np.uint16)
    write_png(path, pixels)


def write_nifti(path: Path, values: np.ndarray, meta: Mapping[str, Any], slope: float = 1.0) -> None:
    """Write a volume (C, X, Y, Z) or a 2D image (C, X, Y) with the axes and the place in space of its file.

    From a NIfTI file it also gets the qform, the sform and their codes, the units and the description, where
    ``monai.data.NibabelWriter`` writes the affine alone.

    Args:
        path: ends in ``.nii.gz`` or ``.nii``.
        values: in the axes of ``meta["affine"]``.
        meta: ``affine``, ``original_affine`` of the file and, of a NIfTI file, ``nifti_header`` (see
            :func:`flemme_monai.data.reading.read_stored`) or the header's fields.
        slope: what readers multiply the values by.

    Raises:
        ValueError: If an affine is degenerate.
    """
    import nibabel

    flat = values.ndim == 3
    values = np.moveaxis(values[..., None] if flat else values, 0, -1)  # (X, Y, Z, C)
    affine = np.asarray(meta.get("affine", np.eye(4)), dtype=np.float64)
    original = np.asarray(meta.get("original_affine", affine), dtype=np.float64)
    for matrix in (affine, original):
        try:
            check_affine(matrix, "the affine of its image")
        except RefusalError as error:
            raise ValueError(f"{path}: {error}") from None
    turn = nibabel.io_orientation(np.linalg.inv(original) @ affine)  # of the image's axes in those of the file
    turned = nibabel.apply_orientation(values, turn)
    affine = affine @ nibabel.orientations.inv_ornt_aff(turn, values.shape[:3])
    if np.allclose(np.linalg.solve(original, affine), np.eye(4), atol=1e-3):
        affine = original
    turned = turned[..., 0] if turned.shape[-1] == 1 else turned
    header = header_of(meta)
    volume = volume_like(turned[:, :, 0] if flat and turned.ndim == 3 else turned, affine, header)
    if header is None and not volume.header["qform_code"]:
        _logger.info(f"{path}: the affine has shears, which a qform cannot hold; only its sform places it")
    if slope != 1.0:
        volume.header.set_slope_inter(slope, 0.0)
    with atomic_write(path) as part:
        nibabel.save(volume, part)


def restored_intensities(pred: torch.Tensor, meta: Mapping[str, Any]) -> np.ndarray:
    """A reconstruction in the value range and dtype of its file, as far as they are known.

    Args:
        pred: (C, *S), 0 and 1 stand for the ends of the range.
        meta: ``intensity_range`` (low, high), each a number or one per channel, and ``original_dtype``.

    Returns:
        The values (C, *S); in [0, 1] as float32 without an ``intensity_range``.
    """
    values = pred.detach().cpu().double().numpy()
    if "intensity_range" not in meta:
        return values.astype(np.float32)
    axes = (-1,) + (1,) * (values.ndim - 1)
    low, high = (np.asarray(v, dtype=np.float64).reshape(axes) for v in meta["intensity_range"])
    values = values * (high - low) + low
    dtype = np.dtype(meta.get("original_dtype", np.float32))
    if dtype.kind not in "iu":
        return values.astype(np.float64 if dtype == np.float64 else np.float32)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(values), bounds.min, bounds.max).astype(dtype)


def restored_std(std: torch.Tensor, meta: Mapping[str, Any]) -> np.ndarray:
    """A standard deviation (C, *S) in the units of its file; ``meta`` as for :func:`restored_intensities`."""
    low, high = (np.asarray(v, dtype=np.float64) for v in meta.get("intensity_range", (0.0, 1.0)))
    width = (high - low).reshape((-1,) + (1,) * (std.ndim - 1))
    return (std.detach().cpu().numpy() * width).astype(np.float32)


def has_place(pred: torch.Tensor) -> TypeGuard[MetaTensor]:
    """Whether a prediction knows where it lies: its meta data are an image's, not those that MONAI makes of none."""
    return "original_affine" in getattr(pred, "meta", {})


def turned_like(pred: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """A volume's prediction with its axes turned to those of the image.

    Args:
        pred: (C_out, *S); without a place of its own it has the image's axes.
        image: (C, *S) with the meta data of its file.

    Returns:
        (C_out, *S).
    """
    import nibabel

    if pred.ndim != 4 or not has_place(pred) or not has_place(image):
        return pred
    axcodes = "".join(nibabel.aff2axcodes(image.affine.numpy()))
    return Orientation(axcodes, labels=(("L", "R"), ("P", "A"), ("I", "S")))(pred)
