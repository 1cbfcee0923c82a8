"""The training set: cases cached after the deterministic transforms, volumes cut into slices for 2D networks."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Transform
from monai.transforms.traits import RandomizableTrait
from tqdm import tqdm

from ..utils import first_cause, user_path, writable_dir
from .disk_cache import DiskCache
from .memory import MEMORY_SHARE, available_bytes, forecast, item_bytes

CACHES = ("auto", "memory", "disk", "none")
_logger = logging.getLogger(__name__)


class CaseDataset(CacheDataset):
    """MONAI's CacheDataset with volumes cut into axial slices and data errors in one line.

    The transforms before the first random one run once per case, in threads, and what they give is kept in memory or
    on disk; the random ones run on each access.

    Args:
        data: items, see ``flemme_monai.data.split_datalist``.
        transform: the transforms, which may be nested; the first load the case.
        slices: make each axial slice (C, H, W) of a volume (C, H, W, D) an item, with its index as ``slice``.
        num_workers: number of threads that load the cases at the start, at least one.
        progress: show a progress bar on a terminal meanwhile.
        keep_empty: False leaves out items, such as slices, whose label has no foreground.
        cache: "memory", "disk" (see :class:`.disk_cache.DiskCache`), "none" (a case is loaded each time it is asked
            for, after all were loaded once to be checked), or "auto": memory where all cases fit into half of what is
            available, else disk, which is logged. True is memory, False none.
        cache_dir: folder of the cases on disk; without one "auto" is memory.
        once: items are asked for once, so that "auto" keeps none on disk where memory is too small, unless they are
            slices.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a case is unreadable or does not fit, slices are wanted without cache, or ``cache`` is unknown.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        slices: bool = False,
        num_workers: int = 0,
        progress: bool = True,
        cache: str | bool | None = True,
        keep_empty: bool = True,
        cache_dir: str | os.PathLike | None = None,
        once: bool = False,
    ) -> None:
        self.cache = _named(cache)
        if slices and self.cache == "none":
            raise ValueError(
                "cache is none while images are slices of volumes, which are made while the cache is filled; expected "
                "auto, memory or disk: set cache to one of them"
            )
        if self.cache == "disk" and cache_dir is None:
            raise ValueError("cache is disk without a folder; expected one: set cache_dir")
        self.slices = slices
        self.keep_empty = keep_empty
        self.cache_dir = cache_dir
        self.once = once and not slices
        # of a DiskCache a method alone, in which MONAI's set_rnd does not look for random state to seed
        self._load_stored: Callable[[int], dict[str, Any]] | None = None
        self._measured: dict[int, dict[str, Any]] = {}
        bar = progress and sys.stderr.isatty()
        # MONAI takes a Compose inside another for a random transform and would not cache what it gives
        transform = transform.flatten()
        super().__init__(data, transform, num_workers=num_workers, progress=bar)

    def __len__(self) -> int:
        return len(self._cache) or len(self.data)

    def deterministic(self, index: int) -> dict[str, Any]:
        """Item ``index`` before the random transforms."""
        return self._cache[index] if self._cache else self._load_cache_item(index)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> Any:
        """Load each case; without cache only to find a bad one before anything is written."""
        transform = deepcopy(self.transform)  # as yet unused: one that has run may have another hash
        if self.cache == "auto":
            self.cache = self._choose()
        if self.cache == "disk":
            assert self.cache_dir is not None, "see __init__ and _choose"
            self._load_stored = DiskCache(self.data, transform, self.cache_dir, by_slice=self.slices).load
        items: list[dict[str, Any]] = []
        places: list[tuple[int, int | None]] = []
        for index, item in enumerate(self._load_cases()):
            for number in _numbers(item) if self.slices else [None]:
                if not self.keep_empty and "label" in item and not _slice_of(item, number, ["label"])["label"].any():
                    continue
                places.append((index, number))
                if self.cache == "memory":
                    items.append(_slice_of(item, number))
        if not places and not self.keep_empty:
            raise ValueError(
                "no image has foreground while keep_empty is false; expected some with: set keep_empty to true, or "
                "give labels with foreground"
            )
        self._measured = {}
        self.cache_num = len(places)
        self.copy_cache = self.cache == "memory"  # else an item is read anew each time
        return items if self.cache == "memory" else _Items(self._load_cache_item, places)

    def _choose(self) -> str:
        """Where the cases are kept."""
        if self.cache_dir is None or not len(self.data):
            return "memory"
        largest, factor = forecast(self.data, takewhile(_is_deterministic, self.transform.transforms))
        item = self._load_cache_item(largest)
        needed, available = factor * item_bytes(item), available_bytes()
        if available is None or needed <= MEMORY_SHARE * available:
            self._measured = {largest: item}
            return "memory"
        folder = writable_dir(user_path(self.cache_dir))
        free = shutil.disk_usage(folder).free
        line = f"{len(self.data)} cases take {needed / 1e9:.3g} GB, of {available / 1e9:.3g} GB of free memory"
        if self.once or (needed > free and not self.slices):
            full = "" if self.once else f" and {free / 1e9:.3g} GB of free disk in {folder}"
            _logger.warning("%s%s: each is loaded when it is used", line, full)
            return "none"
        _logger.warning("%s: they are kept on disk, in %s", line, folder)
        return "disk"

    def _load_cases(self) -> Iterator[dict[str, Any]]:
        # unlike a pool of multiprocessing, this one waits for its threads when a case fails: a thread that is inside
        # PyTorch when the interpreter ends would abort the process
        with ThreadPoolExecutor(self.num_workers) as pool:
            cases = pool.map(self._load_cache_item, range(len(self.data)))
            yield from tqdm(cases, desc="Loading dataset", total=len(self.data), disable=not self.progress)

    def _load_cache_item(self, idx: int) -> dict[str, Any]:
        if idx in self._measured:
            return self._measured[idx]
        try:
            return super()._load_cache_item(idx) if self._load_stored is None else self._load_stored(idx)
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


class _Items(Sequence[dict[str, Any]]):
    """Items that are loaded when they are asked for.

    Args:
        load: gives a case by its index.
        places: index of the case and number of the slice, None for a whole one, of each item.
    """

    def __init__(self, load: Callable[[int], dict[str, Any]], places: Sequence[tuple[int, int | None]]) -> None:
        self.load = load
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        case, number = self.places[index]
        return _slice_of(self.load(case), number)


def _named(cache: str | bool | None) -> str:
    """The name of a cache; the command line makes None of ``none``."""
    if cache is None or isinstance(cache, bool):
        return "memory" if cache else "none"
    if cache not in CACHES:
        names = f"{', '.join(CACHES[:-1])} or {CACHES[-1]}"
        raise ValueError(f"cache is {cache!r}; expected {names}: set it to one of them")
    return cache


def _is_deterministic(transform: Any) -> bool:
    return isinstance(transform, Transform) and not isinstance(transform, RandomizableTrait)


def _volumes(item: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in item.items() if isinstance(value, torch.Tensor) and value.ndim == 4}


def _numbers(item: dict[str, Any]) -> Sequence[int | None]:
    """The numbers of an item's axial slices; an item without volumes is its own only slice."""
    volumes = _volumes(item)
    return range(min(volume.shape[-1] for volume in volumes.values())) if volumes else [None]


def _slice_of(item: dict[str, Any], number: int | None, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """An axial slice of an item, of the volumes under ``keys`` where they are given; the item itself without number."""
    if number is None:
        return item
    volumes = {key: volume for key, volume in _volumes(item).items() if keys is None or key in keys}
    return {**item, **{key: _slice(volume, number) for key, volume in volumes.items()}, "slice": number}


def _slice(volume: torch.Tensor, index: int) -> torch.Tensor:
    plain = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
    part = plain[..., index].clone(memory_format=torch.contiguous_format)
    if not isinstance(volume, MetaTensor):
        return part
    meta = {**volume.meta, "spatial_shape": np.asarray(part.shape[1:])}
    return MetaTensor(part, meta=meta)
