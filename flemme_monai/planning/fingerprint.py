"""What planning knows of a data set: read once, in threads, and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.class_masks import class_names
from ..data.fingerprint import fingerprint, label_fingerprint
from ..data.layouts import find_cases
from ..data.listing import read_listing
from ..utils.files import atomic_write
from ..utils.progress import StepProgress
from .cases import CaseRecord, modality_of_dicom, read_case

MODALITIES = ("ct", "mr", "other")
CACHE = "fingerprint.json"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataFingerprint:
    """What is known of a data set.

    Attributes:
        folder: the data set's.
        cases: of each case that trains, validates or tests.
        modality: ``ct``, ``mr`` or ``other``.
        class_names: by label, as ``dataset.json`` has them, of the labels that it names.
        digest: hash of all cases, by which a plan knows its data set.
        items: the cases' files, in their order.
        multi_label: whether classes have masks of their own, which may overlap.
    """

    folder: Path
    cases: list[CaseRecord]
    modality: str
    class_names: dict[int, str]
    digest: str
    items: Sequence[Mapping[str, Any]] = dataclasses.field(compare=False, repr=False)
    multi_label: bool = False

    @property
    def spatial_dims(self) -> int:
        """2 for pictures, 3 for volumes."""
        return len(self.cases[0].shape)

    @property
    def num_classes(self) -> int:
        """Number of the network's outputs: of classes, the background included, or of masks."""
        return self.highest_label + (not self.multi_label)

    @property
    def highest_label(self) -> int:
        """The highest number of a class."""
        return max(1, *(max(case.labels, default=0) for case in self.cases), max(self.class_names, default=0))

    @property
    def spacings(self) -> np.ndarray:
        """mm, (N, dims)."""
        return np.array([case.spacing for case in self.cases])

    @property
    def shapes(self) -> np.ndarray:
        """Voxels, (N, dims)."""
        return np.array([case.shape for case in self.cases])

    @property
    def contents(self) -> np.ndarray:
        """Voxels of the boxes around what images hold, at least 1 along each axis, (N, dims)."""
        return np.array([case.content for case in self.cases]).clip(1)

    @property
    def empty_borders(self) -> float:
        """The share of an image that the box around what it holds has, in the median."""
        return float(np.median(self.contents.prod(1) / self.shapes.prod(1)))

    def name(self, label: int) -> str:
        """A class with its number."""
        return f"{label} {self.class_names[label]}" if label in self.class_names else f"class {label}"

    def foreground(self) -> np.ndarray:
        """Values inside the foreground of all cases and channels, each case alike, (n,)."""
        return np.concatenate([np.ravel(case.foreground) for case in self.cases])


def read_data_set(
    dataset_dir: str | os.PathLike,
    in_channels: int | None = None,
    modality: str | None = None,
    num_workers: int = 2,
    cache_dir: Path | None = None,
    multi_label: bool = False,
) -> DataFingerprint:
    """Reads a data set once.

    Args:
        dataset_dir: its folder, in any layout that ``docs/data.md`` lists.
        in_channels: number of image channels; None: as many as ``dataset.json`` names, else 1.
        modality: ``ct``, ``mr`` or ``other``; None: by ``dataset.json``, DICOM, or the values.
        num_workers: threads that read.
        cache_dir: where what was read is kept, so that only new and changed cases are read again; None keeps nothing.
        multi_label: classes have masks of their own, which may overlap.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If the layout is not recognised, a case is unreadable, labels do not lie on their images, the cases
            have different numbers of axes or channels, or are of several modalities.
    """
    if modality is not None and modality not in MODALITIES:
        raise ValueError(f"modality is {modality!r}; expected one of {', '.join(MODALITIES)}: name it, or leave it out")
    folder = Path(dataset_dir)
    listing = (read_listing(folder) if folder.is_dir() else None) or {}
    channels = in_channels or len(listing.get("modality") or listing.get("channel_names") or "1")
    data_set = find_cases(folder, channels, labels=True, multi_label=multi_label)
    cases = [case for case in data_set.cases if "label" in case]
    records, digest = _records(cases, num_workers, None if cache_dir is None else cache_dir / CACHE)
    _check_alike(records, channels)
    modality = modality or _modality(listing, cases, records)
    of_masks = class_names(cases) if multi_label else None
    names = {0: "background"} | (dict(enumerate(of_masks, 1)) if of_masks else _given_names(listing))
    return DataFingerprint(data_set.folder, records, modality, names, digest, cases, multi_label)


def _records(cases: Sequence[Mapping[str, Any]], num_workers: int, cache: Path | None) -> tuple[list[CaseRecord], str]:
    """What is known of the cases, and a hash of them all."""
    known = json.loads(cache.read_text(encoding="utf-8")) if cache is not None and cache.is_file() else {}
    fields = {field.name for field in dataclasses.fields(CaseRecord)}
    known = {key: record for key, record in known.items() if record.keys() == fields}  # not what older versions kept
    keys = [f"{case['case']} {fingerprint(case)} {label_fingerprint(case)}" for case in cases]
    missing = [(key, case) for key, case in zip(keys, cases) if key not in known]
    if missing:
        with StepProgress(len(missing), "cases read") as progress, ThreadPoolExecutor(max(1, num_workers)) as pool:
            for (key, _), record in zip(missing, pool.map(read_case, [case for _, case in missing])):
                known[key] = record.plain()
                progress.update()
    known = {key: known[key] for key in keys}
    if cache is not None and missing:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(cache) as part:
            part.write_text(json.dumps(known), encoding="utf-8")
    _logger.info("%d cases, of which %d were read now", len(cases), len(missing))
    return [CaseRecord.of(known[key]) for key in keys], hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[
        :16
    ]


def _check_alike(records: Sequence[CaseRecord], channels: int) -> None:
    """Refuse cases of different kinds.

    Raises:
        ValueError: If there are none, or they have different numbers of axes or channels.
    """
    if not records:
        raise ValueError("the data set has no labelled case; expected at least one: add labels")
    first = records[0]
    for record in records:
        if len(record.shape) != len(first.shape):
            raise ValueError(
                f"{record.case} has {len(record.shape)} axes and {first.case} {len(first.shape)}; expected pictures or "
                "volumes: plan them apart"
            )
        if record.channels != channels:
            raise ValueError(
                f"{record.case} has {record.channels} channels; expected {channels}: set --in_channels, or mend it"
            )


def _modality(listing: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], records: Sequence[CaseRecord]) -> str:
    """What the images are: as dataset.json says, then DICOM, then their values.

    Raises:
        ValueError: If some are CT and others are not.
    """
    named = listing.get("modality") or listing.get("channel_names") or {}
    words = {str(word).lower() for word in (named.values() if isinstance(named, dict) else [named])}
    if any(word == "ct" for word in words):
        return "ct"
    if any(word.startswith("mr") or word in ("t1", "t1w", "t2", "t2w", "flair", "adc", "dwi") for word in words):
        return "mr"
    tags = {tag for tag in map(modality_of_dicom, cases) if tag}
    if len(tags) > 1:
        raise ValueError(f"the series are {', '.join(sorted(tags))}; expected one modality: plan them apart")
    if tags:
        return {"CT": "ct", "MR": "mr"}.get(tags.pop(), "other")
    by_values = Counter(record.looks_like_ct for record in records)
    if len(by_values) > 1:
        odd = next(record for record in records if record.looks_like_ct != by_values.most_common(1)[0][0])
        raise ValueError(
            f"{by_values[True]} of {len(records)} cases have the values of CT, {odd.case} is unlike most; expected one "
            "modality: plan them apart, or name it by --modality"
        )
    return "ct" if by_values[True] else "mr" if len(records[0].shape) == 3 else "other"


def _given_names(listing: Mapping[str, Any]) -> dict[int, str]:
    """The classes' names, which Decathlon has by their numbers and nnU-Net the other way round."""
    given = {}
    for key, value in (listing.get("labels") or {}).items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if str(number).isdigit():
            given[int(number)] = str(name)
    return given
