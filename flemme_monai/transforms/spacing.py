"""Volumes resampled to a spacing as nnU-Net does, and back (Isensee et al., Nature Methods 2021)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, ensure_tuple_rep
from scipy import ndimage

ANISOTROPY = 3.0  # one axis is so many times coarser than the others
CUBIC, LINEAR, NEAREST = 3, 1, 0


class ResampleSpacingd(MapTransform, InvertibleTransform):
    """Brings volumes to a spacing; their outlines stay where they are.

    Images are resampled by cubic splines, label maps by linear interpolation of each class, of which the highest wins;
    along an axis that is three times coarser than the others, before or after, the nearest voxel is taken. Going back,
    scores are interpolated linearly, so that classes are decided on the file's own grid. MONAI's ``Spacingd`` keeps
    centres of corner voxels in place, interpolates labels by the nearest, and inverts as it went.

    Args:
        keys: keys of volumes (C, *S) with an affine; those that are missing, and 2D images, are passed over.
        spacing: mm along each axis; None along an axis leaves that as it is.
        labels: whether the volumes are label maps, one or one per key.

    Raises:
        ValueError: If the spacing is no three lengths above 0.
    """

    def __init__(
        self, keys: KeysCollection, spacing: Sequence[float | None], labels: bool | Sequence[bool] = False
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        lengths = list(spacing) if isinstance(spacing, Sequence) and not isinstance(spacing, str) else []
        if len(lengths) != 3 or not all(mm is None or (np.isfinite(mm) and mm > 0) for mm in lengths):
            raise ValueError(f"spacing is {spacing!r}; expected three lengths in mm above 0: write [1.0, 1.0, 3.0]")
        self.spacing = lengths
        self.labels = ensure_tuple_rep(labels, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with volumes (C, *S') of the spacing."""
        out = dict(data)
        for key, labels in self.key_iterator(out, self.labels):
            volume = out[key]
            if volume.ndim != 4:
                continue
            if not isinstance(volume, MetaTensor):
                raise ValueError(f"{key} has no affine; expected a MetaTensor of known spacing: load it by MONAI")
            before = np.linalg.norm(volume.affine.numpy()[:3, :3], axis=0)
            after = np.array([now if mm is None else mm for now, mm in zip(before, self.spacing)])
            old = list(volume.shape[1:])
            new = [max(1, round(n * now / mm)) for n, now, mm in zip(old, before, after)]
            orders = interpolation_orders(before, after, LINEAR if labels else CUBIC)
            values = resample(volume.as_tensor(), new, orders, labels)
            info = {"old": old, "orders": interpolation_orders(before, after, LINEAR), "affine": volume.affine.clone()}
            made = MetaTensor(values, meta=dict(volume.meta), applied_operations=list(volume.applied_operations))
            made.affine = volume.affine.to(torch.float64) @ torch.from_numpy(grid_scale(old, new))
            self.push_transform(made, orig_size=old, extra_info=info)
            out[key] = made
        return out

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with volumes (C, *S) on the grid they came from: scores by linear interpolation, labels by class."""
        out = dict(data)
        for key in self.key_iterator(out):
            volume = out[key]
            if volume.ndim != 4:  # a 2D image, which was passed over
                continue
            info = self.pop_transform(out[key])[TraceKeys.EXTRA_INFO]
            labels = not volume.is_floating_point()
            values = resample(volume.as_tensor(), info["old"], info["orders"], labels)
            made = MetaTensor(values, meta=dict(volume.meta), applied_operations=list(volume.applied_operations))
            made.affine = info["affine"]
            out[key] = made
        return out


def interpolation_orders(before: np.ndarray, after: np.ndarray, order: int) -> list[int]:
    """The order of interpolation along each axis: nearest along one that is much coarser than the others.

    Args:
        before, after: spacing along each axis, mm.
        order: along the other axes.
    """
    for spacing in (before, after):
        worst = int(np.argmax(spacing))
        if spacing[worst] > ANISOTROPY * np.delete(spacing, worst).max():
            return [NEAREST if axis == worst else order for axis in range(len(spacing))]
    return [order] * len(before)


def grid_scale(old: Sequence[int], new: Sequence[int]) -> np.ndarray:
    """The matrix (4, 4) from voxels of the new grid to those of the old one, whose outlines are the same."""
    factors = np.array(old) / np.array(new)
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = (factors - 1) / 2
    return matrix


def resample(volume: torch.Tensor, size: Sequence[int], orders: Sequence[int], labels: bool = False) -> torch.Tensor:
    """A volume on a grid of another size with the same outlines.

    Args:
        volume: (C, *S).
        size: of the new grid.
        orders: of the spline along each axis.
        labels: whether it is a label map: each class is resampled, and the highest wins, the lower number in a tie.

    Returns:
        (C, *size), in the volume's dtype where it is a label map, else float32.
    """
    if tuple(size) == tuple(volume.shape[1:]):
        return volume.clone()
    if not labels:
        return torch.stack([_resampled(channel.float(), size, orders) for channel in volume])
    out = torch.zeros(len(volume), *size, dtype=volume.dtype, device=volume.device)
    for channel, found in zip(volume, out):
        best = torch.zeros(*size, device=volume.device)
        for label in channel.unique():
            share = _resampled((channel == label).float(), size, orders)
            higher = share > best
            best[higher], found[higher] = share[higher], label
    return out


def _resampled(values: torch.Tensor, size: Sequence[int], orders: Sequence[int]) -> torch.Tensor:
    """A volume (*S), axis by axis: an interpolation of splines is a product of matrices, one per axis."""
    for axis, (new, order) in enumerate(zip(size, orders)):
        old = values.shape[axis]
        if new != old:
            weights = torch.from_numpy(interpolation_matrix(old, new, order)).to(values)
            values = torch.tensordot(weights, values, dims=([1], [axis])).movedim(0, axis)
    return values.contiguous()


@lru_cache(maxsize=64)
def interpolation_matrix(old: int, new: int, order: int) -> np.ndarray:
    """The weights (new, old) of an axis' voxels in those of the new grid, the border repeated beyond it."""
    matrix = ndimage.zoom(np.eye(old), (new / old, 1), order=order, mode="nearest", grid_mode=True)
    return matrix.astype(np.float32)
