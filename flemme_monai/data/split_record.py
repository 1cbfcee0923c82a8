"""Keeps a training's split beside its weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..utils.files import atomic_write, user_path
from .divide import PARTS, Case, Split
from .fingerprint import data_set_fingerprint, fingerprint, label_fingerprint

SPLIT_FILE = "split.json"
Slab = tuple[int, int]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The data and settings that a split was made of.

    Args:
        cases: all cases of the data set.
        settings: the settings that made it, by name.
        made_by: what made images that are in memory.
        pretrained: fingerprints of the cases that the weights which a training begins with were trained on.
    """

    cases: Sequence[Case]
    settings: Mapping[str, Any]
    made_by: str = ""
    pretrained: Sequence[str] = ()

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each case by its name."""
        return {case["case"]: fingerprint(case, self.made_by) for case in self.cases}

    @cached_property
    def label_fingerprints(self) -> dict[str, str]:
        """The fingerprint of each case's label by the case's name, of those that have one in a file."""
        found = {case["case"]: label_fingerprint(case) for case in self.cases}
        return {name: digits for name, digits in found.items() if digits is not None}


class Part(list):
    """The cases of one part of a split, which know the whole split and what it was made of.

    Args:
        cases: the cases.
        split: the cases by "train", "val" and "test".
        source: what it was made of.
    """

    def __init__(self, cases: Sequence[Case], split: Split, source: Source) -> None:
        super().__init__(cases)
        self.split = split
        self.source = source


@dataclass(frozen=True)
class SplitRecord:
    """The content of ``split.json``.

    Args:
        path: the file.
        settings: the settings that made the split.
        parts: the names of the cases by "train", "val" and "test".
        fingerprints: of all cases of the data set, by name.
        slabs: the slabs of the cases by part and name, where volumes are divided.
        replaced: the fingerprints of cases that an earlier training in the same folder was trained on, by name, until
            its weights are replaced too.
        labels: fingerprints of the cases' labels, by name; empty where there are none, or the record is of version
            0.5.0 or older.
        pretrained: fingerprints of the cases that the weights with which the training began were trained on.
    """

    path: Path
    settings: dict[str, Any]
    parts: dict[str, list[str]]
    fingerprints: dict[str, str]
    slabs: dict[str, dict[str, Slab]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    pretrained: list[str] = field(default_factory=list)

    @property
    def all_trained(self) -> list[str]:
        """The fingerprints of all cases that the weights have been trained on, but of those with a slab each."""
        own = (self.fingerprints[name] for name in self.parts["train"] if name not in self.slabs.get("train", {}))
        return sorted({*own, *self.replaced.values(), *self.pretrained})

    def knows(self, case: Case, source: Source) -> bool:
        """Whether a case has a name of the record and that one's content."""
        return self.fingerprints.get(case["case"]) == source.fingerprints[case["case"]]

    def trained_on(self, cases: Sequence[Case], source: Source) -> list[str]:
        """The names of those of the cases that were trained on, whole or in part, under their name or another."""
        trained = {*self.parts["train"], *self.replaced}
        contents = {self.fingerprints[name]: name for name in self.parts["train"]}
        contents |= {print_: name for name, print_ in self.replaced.items()}
        slabs = self.slabs.get("train", {})
        found = []
        for case in cases:
            name = case["case"] if self.knows(case, source) else contents.get(source.fingerprints[case["case"]])
            overlaps = name in trained and _overlap(case, slabs.get(name))
            if overlaps or source.fingerprints[case["case"]] in self.pretrained:
                found.append(case["case"])
        return found

    def chosen_on(self, cases: Sequence[Case], source: Source) -> list[str]:
        """The names of those of the cases that have the content of one which validates and does not test."""
        contents = {self.fingerprints[name] for name in self.parts["val"] if name not in self.parts["test"]}
        return [case["case"] for case in cases if source.fingerprints[case["case"]] in contents]

    def split(self, cases: Sequence[Case]) -> Split:
        """The recorded parts of those cases that are among the given ones, which are known."""
        known = {case["case"]: case for case in cases}
        found: Split = {}
        for part, names in self.parts.items():
            slabs = self.slabs.get(part, {})
            present = [known[name] for name in names if name in known]
            found[part] = [{**case, "slab": slabs[case["case"]]} if case["case"] in slabs else case for case in present]
        return found

    def is_of(self, split: Split) -> bool:
        """Whether a split has the recorded parts."""
        return all(
            sorted(self.parts[part]) == sorted(case["case"] for case in split[part])
            and self.slabs.get(part, {}) == _slabs(split[part])
            for part in PARTS
        )


def save_split(loader: Any, folder: str | os.PathLike) -> None:
    """Write ``split.json`` for what a loader's data set is a part of; data of another origin leave none.

    Where the folder holds weights of an earlier training, the cases that it was trained on are kept beside, until
    ``settle_split``.

    Args:
        loader: the training's data loader.
        folder: an existing folder.
    """
    data = getattr(getattr(loader, "dataset", None), "data", None)
    path = Path(folder) / SPLIT_FILE
    if not isinstance(data, Part):
        path.unlink(missing_ok=True)
        return
    record = {
        "settings": dict(data.source.settings),
        "data_set": data_set_fingerprint(data.source.fingerprints),
        **{part: [case["case"] for case in data.split[part]] for part in PARTS},
        "fingerprints": data.source.fingerprints,
    }
    if data.source.pretrained:
        record["pretrained"] = list(data.source.pretrained)
    slabs = {part: found for part in PARTS if (found := _slabs(data.split[part]))}
    if slabs:
        record["slabs"] = slabs
    if data.source.label_fingerprints:
        record["labels"] = data.source.label_fingerprints
    replaced = _replaced(path, record) if any(Path(folder).glob("*.pt")) else {}
    if replaced:
        record["replaced"] = replaced
    _write(path, record)


def settle_split(folder: str | os.PathLike) -> None:
    """Drop from ``split.json`` what an earlier training was trained on, since its weights are replaced."""
    path = Path(folder) / SPLIT_FILE
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("replaced", None):
            _write(path, record)


def read_split(path: str | os.PathLike) -> SplitRecord | None:
    """The record of a training's split, None where there is no such file, which is logged.

    Raises:
        ValueError: If the file is no such record.
    """
    path = user_path(path)
    if not path.is_file():
        _logger.info("%s is not there: which cases the weights were trained on is not known", path)
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        slabs = {
            part: {name: (int(first), int(last)) for name, (first, last) in cases.items()}
            for part, cases in found.get("slabs", {}).items()
        }
        record = SplitRecord(
            path,
            dict(found["settings"]),
            {part: list(found[part]) for part in PARTS},
            dict(found["fingerprints"]),
            slabs,
            dict(found.get("replaced", {})),
            dict(found.get("labels", {})),
            list(found.get("pretrained", [])),
        )
        unknown = {name for names in record.parts.values() for name in names} - record.fingerprints.keys()
        if unknown:
            raise ValueError(f"no fingerprint of {min(unknown)}")
        both = set(record.parts["train"]) & {*record.parts["val"], *record.parts["test"]}
        if both and not slabs:
            raise ValueError(f"{min(both)} trains and is held out")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is no record of a training's split ({type(error).__name__}: {error}); "
            "put back the file that training wrote, or remove it"
        ) from None
    return record


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _replaced(path: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Fingerprints of the cases that the folder's weights were trained on, unless another record trains on all."""
    try:
        earlier = read_split(path) if path.is_file() else None
    except ValueError:
        return {}
    if earlier is None:
        return {}
    trained = earlier.replaced or {name: earlier.fingerprints[name] for name in earlier.parts["train"]}
    own = {(name, record["fingerprints"][name]) for name in record["train"]}
    return trained if set(trained.items()) - own else {}


def _overlap(case: Case, slab: Slab | None) -> bool:
    """Whether a case, or its slab, has slices of another slab; what has no slab is whole."""
    return "slab" not in case or slab is None or (case["slab"][0] < slab[1] and slab[0] < case["slab"][1])


def _slabs(cases: Sequence[Case]) -> dict[str, Slab]:
    return {case["case"]: tuple(case["slab"]) for case in cases if "slab" in case}
