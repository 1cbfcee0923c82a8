"""The training set: cases cached after the deterministic transforms, volumes cut into slices for 2D networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from ..utils import first_cause


class CaseDataset(CacheDataset):
    """MONAI's CacheDataset with volumes cut into axial slices and data errors in one line.

    The transforms before the first random one run once per case, in threads, and are kept in memory; the random ones
    run on each access.

    Args:
        data: items, see ``flemme_monai.data.split_datalist``.
        transform: the transforms, which may be nested; the first load the case.
        slices: make each axial slice (C, H, W) of a volume (C, H, W, D) an item, with its index as ``slice``.
        num_workers: number of threads that load the cases at the start, at least one.
        progress: show a progress bar on a terminal meanwhile.
        keep_empty: False leaves out items, such as slices, whose label has no foreground.
        cache: False loads a case each time it is asked for, after all were loaded once to be checked.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a case is unreadable or does not fit, or slices are wanted without cache.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        slices: bool = False,
        num_workers: int = 0,
        progress: bool = True,
        cache: bool = True,
        keep_empty: bool = True,
    ) -> None:
        if slices and not cache:
            raise ValueError(
                "slices is true and cache false; slices are made while the cache is filled, set cache to true"
            )
        self.slices = slices
        self.cache = cache
        self.keep_empty = keep_empty
        bar = progress and sys.stderr.isatty()
        # MONAI takes a Compose inside another for a random transform and would not cache what it gives
        transform = transform.flatten()
        super().__init__(data, transform, cache_rate=1.0 if cache else 0.0, num_workers=num_workers, progress=bar)

    def __len__(self) -> int:
        return len(self._cache) or len(self.data)

    def deterministic(self, index: int) -> dict[str, Any]:
        """Item ``index`` before the random transforms."""
        return self._cache[index] if self._cache else self._load_cache_item(index)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Load each case; without cache only to find a bad one before anything is written."""
        items = []
        for item in self._load_cases():
            if self.cache:
                items += _slices(item) if self.slices else [item]
        if not self.keep_empty:
            items = [item for item in items if "label" not in item or (item["label"] != 0).any()]
            if not items:
                raise ValueError(
                    "no image has foreground while keep_empty is false; expected some with: set keep_empty to true, or "
                    "give labels with foreground"
                )
        self.cache_num = len(items)
        return items

    def _load_cases(self) -> Iterator[dict[str, Any]]:
        # unlike a pool of multiprocessing, this one waits for its threads when a case fails: a thread that is inside
        # PyTorch when the interpreter ends would abort the process
        with ThreadPoolExecutor(self.num_workers) as pool:
            cases = pool.map(self._load_cache_item, range(len(self.data)))
            yield from tqdm(cases, desc="Loading dataset", total=len(self.data), disable=not self.progress)

    def _load_cache_item(self, idx: int) -> dict[str, Any]:
        try:
            return super()._load_cache_item(idx)
        except RuntimeError as error:
            cause = first_cause(error, ValueError, OSError)
            if cause is None:
                raise
            raise cause from None

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except RuntimeError as error:
            cause = first_cause(error, ValueError, OSError)
            if cause is None:
                raise
            raise cause from None


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
