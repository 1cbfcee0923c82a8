"""The training set: cases cached after the deterministic transforms, volumes cut into slices for 2D networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose


class CaseDataset(CacheDataset):
    """MONAI's CacheDataset with volumes cut into axial slices and data errors in one line.

    The transforms before the first random one run once a case, in threads, and are kept in memory; the random ones run
    on each access.

    Args:
        data: items, see `flemme_monai.data.datalist`.
        transform: the transforms; the first loads the case.
        slices: make each axial slice (C, H, W) of a volume (C, H, W, D) an item of its own, with its index as `slice`.
        num_workers: number of threads that fill the cache, at least one.
        progress: show a progress bar while the cache fills.
        cache: False loads a case each time it is asked for.

    Raises:
        FileNotFoundError: When a file is missing.
        ValueError: When a case is unreadable or does not fit, or slices are wanted without cache.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        slices: bool = False,
        num_workers: int = 0,
        progress: bool = True,
        cache: bool = True,
    ) -> None:
        if slices and not cache:
            raise ValueError(
                "slices is true and cache false; slices are made while the cache is filled, set cache to true"
            )
        self.slices = slices
        super().__init__(data, transform, cache_rate=1.0 if cache else 0.0, num_workers=num_workers, progress=progress)

    def __len__(self) -> int:
        return len(self._cache) or len(self.data)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[dict[str, Any]]:
        items = super()._fill_cache(indices)
        if self.slices:
            items = [part for item in items for part in _slices(item)]
        self.cache_num = len(items)
        return items

    def _load_cache_item(self, idx: int) -> dict[str, Any]:
        try:
            return super()._load_cache_item(idx)
        except RuntimeError as error:
            raise _data_error(error) from None

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except RuntimeError as error:
            raise _data_error(error) from None


def _data_error(error: BaseException) -> BaseException:
    """The ValueError or OSError that a transform raised, out of MONAI's wrapping; else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (ValueError, OSError)):
        cause = cause.__cause__
    return error if cause is None else cause


def _slices(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The axial slices of an item; an item without volumes is its own only slice."""
    volumes = {key: value for key, value in item.items() if isinstance(value, torch.Tensor) and value.ndim == 4}
    if not volumes:
        return [item]
    depth = min(volume.shape[-1] for volume in volumes.values())
    return [
        {**item, **{key: _slice(volume, index) for key, volume in volumes.items()}, "slice": index}
        for index in range(depth)
    ]


def _slice(volume: torch.Tensor, index: int) -> torch.Tensor:
    plain = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
    part = plain[..., index].clone(memory_format=torch.contiguous_format)
    if not isinstance(volume, MetaTensor):
        return part
    meta = {**volume.meta, "spatial_shape": np.asarray(part.shape[1:])}
    return MetaTensor(part, meta=meta)
