"""Cases kept on disk after the deterministic transforms, as tensors that are read by pieces."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from enum import Enum
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import monai
import numpy as np
import torch
from monai.data import MetaTensor, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import Compose

from ..utils import atomic_write, user_path, writable_dir
from .class_masks import ClassMasks
from .fingerprint import image_files

SUFFIX = ".case.pt"
TAG_FILE = "CACHEDIR.TAG"  # by which tools for backups know a cache, and ``clean-cache`` one of this collection
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# cases that flemme_monai has prepared; see docs/data.md\n"
_NAMES = ("case", "class_name")  # of an item, which are no paths
_ARRAY, _META_TENSOR = "numpy array", "MetaTensor"
_logger = logging.getLogger(__name__)


class DiskCache(PersistentDataset):
    """MONAI's PersistentDataset whose files are known by their content, written whole and mapped into memory.

    MONAI 1.6.1 knows a case by its path alone, moves a file into the cache from another file system, which a kill can
    cut short, ends on one that was cut short, and reads each file whole. Here the name of a file is a hash of the
    transforms, the versions, and path, size and time of change of all files of a case; a file takes its place when it
    is whole, so that several processes may fill one folder; one that cannot be read is made again; and of a mapped
    volume a crop reads its own pages. Files are opened with ``weights_only``.

    Args:
        data: items, see ``flemme_monai.data.split_datalist``.
        transform: the transforms; those before the first random one are run once per case.
        cache_dir: folder of the files, made where it is missing.
        by_slice: volumes (C, H, W, D) are laid out slice by slice, so that a slice is read alone.
    """

    def __init__(
        self, data: Sequence[Any], transform: Compose, cache_dir: str | os.PathLike, by_slice: bool = False
    ) -> None:
        folder = writable_dir(user_path(cache_dir))
        super().__init__(data, transform, folder, hash_func=case_hash, hash_transform=_transforms_hash)
        self.folder = folder
        self.by_slice = by_slice
        self._paths: dict[int, Path] = {}
        tag = folder / TAG_FILE
        if not tag.exists():
            with atomic_write(tag) as part:
                part.write_text(_TAG, encoding="utf-8")

    def path(self, index: int) -> Path:
        """The file of a case, as its own files were when it was first asked for."""
        if index not in self._paths:
            known = f"{self.transform_hash}{self.hash_func(self.data[index]).decode()}{self.by_slice}"
            self._paths[index] = self.folder / f"{hashlib.sha256(known.encode()).hexdigest()[:40]}{SUFFIX}"
        return self._paths[index]

    def load(self, index: int) -> dict[str, Any]:
        """A case after the deterministic transforms, as they give it; its file is made where there is none."""
        path = self.path(index)
        item = _read(path)
        if item is None:
            made = self._pre_transform(deepcopy(self.data[index]))
            with atomic_write(path) as part, part.open("wb") as file:
                torch.save(_packed(_by_slice(made) if self.by_slice else made), file)
                file.flush()
                os.fsync(file.fileno())
            item = _read(path)
        return made if item is None else item

    def _cachecheck(self, item_transformed: Any) -> Any:
        raise NotImplementedError("cases are known by their index, see load")

    def _transform(self, index: int) -> Any:
        return self._post_transform(self.load(index))


def case_hash(case: Mapping[str, Any]) -> bytes:
    """A hash of an item: path, size and time of change of each file, content of what is in memory, and its settings."""
    found = hashlib.sha256()
    for name in sorted(case):
        found.update(f"{name}:".encode())
        _add(found, repr(case[name]).encode(errors="surrogateescape") if name in _NAMES else case[name])
    return found.hexdigest().encode()


def _add(found: hashlib._Hash, value: Any) -> None:
    if isinstance(value, ClassMasks):
        found.update(repr(value).encode(errors="surrogateescape"))
        value = list(value.files)
    if isinstance(value, torch.Tensor | np.ndarray):
        array = np.ascontiguousarray(value)
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    elif isinstance(value, list | tuple):
        for part in value:
            _add(found, part)
    else:
        found.update(f"{value!r} ".encode(errors="surrogateescape"))
        if isinstance(value, str | os.PathLike) and os.path.exists(value):
            for file in image_files(Path(value)):
                status = file.stat()
                found.update(f"{file.name} {status.st_size} {status.st_mtime_ns} ".encode(errors="surrogateescape"))


def _transforms_hash(transforms: Sequence[Any]) -> bytes:
    from .. import __version__

    return pickle_hashing([__version__, monai.__version__, *transforms])


def _read(path: Path) -> dict[str, Any] | None:
    """The item in a file; None where there is none, or it is damaged, which is logged."""
    try:
        return _unpacked(torch.load(path, mmap=True, weights_only=True))
    except FileNotFoundError:
        return None
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, TypeError):
        _logger.warning("%s: cannot be read, it is made again", path)
        return None


def _packed(value: Any) -> Any:
    """A value as types that ``torch.load`` takes with ``weights_only``."""
    if isinstance(value, MetaTensor):
        parts = [value.as_tensor(), _packed(value.meta), _packed(value.applied_operations)]
        return {_META_TENSOR: parts}
    if isinstance(value, torch.Tensor):  # of a part of a tensor PyTorch would write the whole
        return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, Mapping):
        return {key.value if isinstance(key, Enum) else key: _packed(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return (tuple if isinstance(value, tuple) else list)(map(_packed, value))
    if isinstance(value, Enum):
        return value.value
    return value.item() if isinstance(value, np.generic) else value


def _unpacked(value: Any) -> Any:
    """The value that :func:`_packed` was given."""
    if isinstance(value, dict):
        if value.keys() == {_META_TENSOR}:
            data, meta, operations = value[_META_TENSOR]
            return MetaTensor(data, meta=_unpacked(meta), applied_operations=_unpacked(operations))
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {key: _unpacked(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_unpacked, value))
    return value


def _by_slice(item: dict[str, Any]) -> dict[str, Any]:
    """An item whose volumes (C, H, W, D) lie in memory slice by slice."""
    return {
        key: value.movedim(-1, 0).contiguous().movedim(0, -1)
        if isinstance(value, torch.Tensor) and value.ndim == 4
        else value
        for key, value in item.items()
    }
