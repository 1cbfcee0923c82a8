"""The label map of a large image, put together slab by slab: of no class there are scores of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

Place = tuple[slice, ...]


def window_places(size: Sequence[int], roi_size: Sequence[int], overlap: float) -> list[Place]:
    """Where MONAI's sliding windows lie.

    Args:
        size: of the image, at least ``roi_size`` along each axis.
        roi_size: of a window.
        overlap: share of a window that the next one covers again.

    Returns:
        A slice per axis of each window, in MONAI's order.
    """
    interval = _get_scan_interval(size, roi_size, len(size), [overlap] * len(size))
    return dense_patch_slices(size, roi_size, interval, return_slice=True)


@torch.no_grad()
def sliding_labels(
    image: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
    weight: torch.Tensor,
    overlap: float,
    sw_batch_size: int,
) -> torch.Tensor:
    """The class of the highest score at each voxel, where MONAI's ``sliding_window_inference`` gives all scores.

    Windows go along the axis that has most of them, so that the slab in which their outputs overlap is small. Planes
    which no further window reaches get their classes, and their scores are forgotten.

    Args:
        image: (C, *S), at least a window along each axis.
        predict: windows (N, C, *roi_size) to scores (N, C_out, *roi_size).
        weight: of a window's voxels, (*roi_size).
        overlap: share of a window that the next one covers again.
        sw_batch_size: windows per call of ``predict``.

    Returns:
        The classes (1, *S), uint8, or int32 above 256 classes.
    """
    size, roi_size = image.shape[1:], weight.shape
    axis = max(range(len(size)), key=lambda i: size[i] / roi_size[i])
    groups = _groups(window_places(size, roi_size, overlap), axis, sw_batch_size)
    thickness = max(places[-1][axis].stop - places[0][axis].start for places in groups)
    starts = [places[0][axis].start for places in groups]
    slab = labels = torch.empty(0)
    for places, first, following in zip(groups, starts, [*starts[1:], size[axis]]):
        for i in range(0, len(places), sw_batch_size):
            batch = places[i : i + sw_batch_size]
            scores = predict(torch.stack([_cut(image, place) for place in batch]))  # (N, C_out, *roi_size)
            if not slab.numel():
                shape = [thickness if i == axis else length for i, length in enumerate(size)]
                slab = weight.new_zeros(scores.shape[1], *shape)
                labels = torch.empty(1, *size, dtype=label_dtype(scores.shape[1]), device=weight.device)
            _add_scores(slab, scores, weight, batch, axis, first)
            del scores  # before the next ones are made
        done = following - first
        labels.narrow(axis + 1, first, done).copy_(slab.narrow(axis + 1, 0, done).argmax(0, keepdim=True))
        rest = slab.narrow(axis + 1, done, thickness - done).clone() if done < thickness else slab[..., :0]
        slab.zero_()
        if rest.numel():
            slab.narrow(axis + 1, 0, thickness - done).copy_(rest)
    return labels


def _cut(image: torch.Tensor, place: Sequence[slice]) -> torch.Tensor:
    """The part of an image (C, *S) that a place is of, a view."""
    index = (slice(None), *place)
    return image[index]


def _add_scores(
    slab: torch.Tensor, scores: torch.Tensor, weight: torch.Tensor, places: list[Place], axis: int, first: int
) -> None:
    """Add weighted scores (N, C_out, *roi_size) of windows to a slab (C_out, ...) that begins at a plane of an axis."""
    for score, place in zip(scores, places):
        inside = list(place)
        inside[axis] = slice(place[axis].start - first, place[axis].stop - first)
        _cut(slab, inside).add_(score * weight)


def _groups(places: list[Place], axis: int, sw_batch_size: int) -> list[list[Place]]:
    """Windows in the order of their start along an axis: those of one start, or of as many as a batch has room for."""
    rows: dict[int, list[Place]] = {}
    for place in places:
        rows.setdefault(place[axis].start, []).append(place)
    at_once = max(1, sw_batch_size // max(map(len, rows.values())))
    starts = sorted(rows)
    return [
        [place for start in starts[i : i + at_once] for place in rows[start]] for i in range(0, len(starts), at_once)
    ]


def label_dtype(num_classes: int) -> torch.dtype:
    """The smallest type of label maps that has room for the classes."""
    return torch.uint8 if num_classes <= 256 else torch.int32
