"""fastMRI's files of single-coil k-space (Zbontar et al. 2018): ``NAME.h5``, a volume each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import FASTMRI_SUFFIX, list_images
from .layouts import DataSet, by_part_folders, contents
from .matching import image_cases

if TYPE_CHECKING:
    from types import ModuleType

TARGETS = ("reconstruction_esc", "reconstruction_rss")
SIDE = 320  # of fastMRI's reconstructions, which are cropped


def is_fastmri(path: Any) -> bool:
    """Whether a path is that of such a file."""
    return isinstance(path, str | os.PathLike) and os.fspath(path).lower().endswith(FASTMRI_SUFFIX)


def fastmri_pairs(folder: Path, in_channels: int) -> DataSet | None:
    """The files of a folder as given pairs: each is its own input and target; None where it holds others.

    Args:
        folder: the data set's folder; ``train/``, ``val/`` and ``test/`` in it are parts.
        in_channels: number of image channels, 1.

    Raises:
        ValueError: If other images lie beside them.
    """
    paths = list_images(folder) if folder.is_dir() else []
    if not any(is_fastmri(path) for path in paths):
        return None
    others = [path for path in paths if not is_fastmri(path)]
    if others:
        raise ValueError(f"{others[0]}: lies beside fastMRI's files; expected these alone: found {contents(folder)}")
    cases = image_cases(paths, folder, in_channels).values()
    return by_part_folders(DataSet(folder, [{**case, "target": case["image"]} for case in cases], [], []))


def read_fastmri(path: str | os.PathLike, target: bool = False) -> np.ndarray:
    """The volume of a file: what a network sees of it, or its target.

    Args:
        path: of the file.
        target: the fully sampled image: the reconstruction that the file has, else the magnitude image of its k-space.
            False: the zero-filled image of what the file's own mask keeps of its k-space; without a mask the target.

    Returns:
        (1, H, W, slices), float32, cropped as the reconstructions are.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: If the file has neither k-space of one coil nor a reconstruction, or a mask that does not fit.
    """
    with _h5py(path).File(path) as file:
        found = next((np.asarray(file[name]) for name in TARGETS if name in file), None)
        masked = "mask" in file and "kspace" in file
        if found is None or (masked and not target):
            if "kspace" not in file:
                raise ValueError("it has neither kspace nor a reconstruction; expected a file of fastMRI")
            size = (SIDE, SIDE) if found is None else found.shape[1:]
            found = _zero_filled(np.asarray(file["kspace"]), np.asarray(file["mask"]) if masked else None, size)
    return np.ascontiguousarray(np.moveaxis(found, 0, -1)[None], np.float32)


def _zero_filled(kspace: np.ndarray, mask: np.ndarray | None, size: tuple[int, ...]) -> np.ndarray:
    """Magnitude images (S, h, w) of k-space (S, H, W), of which the mask (W,) keeps columns."""
    if kspace.ndim != 3:
        raise ValueError(f"its kspace is {kspace.shape}; expected (slices, H, W), of a single coil")
    if mask is not None:
        if mask.reshape(-1).shape != kspace.shape[-1:]:
            raise ValueError(f"its mask is {mask.shape} of kspace {kspace.shape}; expected one number per column")
        kspace = kspace * (mask.reshape(-1) != 0)
    axes = (-2, -1)
    image = np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho")
    image = np.abs(np.fft.fftshift(image, axes=axes))
    crop = [slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(image.shape[1:], map(min, image.shape[1:], size))]
    return image[:, crop[0], crop[1]]


def _h5py(path: str | os.PathLike) -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path}: h5py is not installed, which reads it; expected it: pip install h5py") from None
    return h5py
