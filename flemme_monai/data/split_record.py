"""Keeps a training's split beside its weights, so that no evaluation tests on training cases unnoticed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from flemme_monai.data.divide import PARTS, Case, Split
from flemme_monai.data.fingerprint import data_set_fingerprint, fingerprint
from flemme_monai.data.groups import few
from flemme_monai.utils.files import replacing

SPLIT_FILE = "split.json"
# the settings that make a split, and what they are when a user sets none
DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "shuffle_split": False,
    "split_by": "case",
    "split_file": None,
    "fold": None,
    "num_folds": 5,
    "group_by": None,
}
Slab = tuple[int, int]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What a split was made of.

    Args:
        cases: all cases of the data set.
        settings: the settings that made it, see ``DEFAULTS``.
        made_by: what made images that are in memory.
    """

    cases: Sequence[Case]
    settings: Mapping[str, Any]
    made_by: str = ""

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each case by its name."""
        return {case["case"]: fingerprint(case, self.made_by) for case in self.cases}


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
    """What ``split.json`` holds.

    Args:
        path: the file.
        settings: the settings that made the split.
        parts: the names of the cases by "train", "val" and "test".
        fingerprints: of all cases of the data set, by name.
        slabs: the slabs of the cases by part and name, where volumes are divided.
    """

    path: Path
    settings: dict[str, Any]
    parts: dict[str, list[str]]
    fingerprints: dict[str, str]
    slabs: dict[str, dict[str, Slab]] = field(default_factory=dict)

    def knows(self, case: Case, source: Source) -> bool:
        """Whether a case has a name of the record and that one's content."""
        return self.fingerprints.get(case["case"]) == source.fingerprints[case["case"]]

    def trained_on(self, cases: Sequence[Case], source: Source) -> list[str]:
        """The names of those of the cases that were trained on, whole or in part, under their name or another."""
        trained = set(self.parts["train"])
        contents = {self.fingerprints[name]: name for name in trained}
        slabs = self.slabs.get("train", {})
        found = []
        for case in cases:
            name = case["case"] if self.knows(case, source) else contents.get(source.fingerprints[case["case"]])
            if name in trained and _overlap(case, slabs.get(name)):
                found.append(case["case"])
        return found

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
    slabs = {part: found for part in PARTS if (found := _slabs(data.split[part]))}
    with replacing(path) as part:
        part.write_text(json.dumps(record | ({"slabs": slabs} if slabs else {}), indent=1) + "\n", encoding="utf-8")


def read_split(path: str | os.PathLike) -> SplitRecord | None:
    """The record of a training's split, None where there is no such file, which is logged.

    Raises:
        ValueError: When the file is no such record.
    """
    path = Path(path)
    if not path.is_file():
        _logger.info("%s is not there: which cases the weights were trained on is not known", path)
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
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
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is no record of a training's split ({type(error).__name__}: {error}); "
            "put back the file that training wrote, or remove it"
        ) from None
    return record


def recorded_split(
    record: SplitRecord, source: Source, make: Callable[[Mapping[str, Any]], Split], resume: bool
) -> Split:
    """The split of a training that weights are of, for its evaluation or to go on with it.

    What a user sets otherwise than the training did makes another split, which must not test on training cases.
    A data set that shares no case with the training's tests with all its cases.

    Args:
        record: the training's split.
        source: the present cases and settings; a setting at its default counts as not set.
        make: makes a split by settings.
        resume: for going on, which needs the same cases and split.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        ValueError: When the split would test on training cases, no case is left to test, or a training cannot go on.
    """
    known = [case for case in source.cases if record.knows(case, source)]
    if resume:
        _check_same_cases(record, known, source)
    given = _given(source.settings, record.settings)
    if given:
        split = make(_merged(given, record.settings))
        if not record.is_of(split):
            _check_other_split(record, split, given, source, resume)
            return split
    split = record.split(known)
    new = [case for case in source.cases if not record.knows(case, source)]
    if not split["test"]:
        return _new_cases_test(record, split, new, source)
    lost = len(record.parts["test"]) - len(split["test"])
    _logger.info("the split is the training's: %s", record.path)
    if lost:
        _logger.info("%d of its %d test cases are not among the cases", lost, len(record.parts["test"]))
    if new:
        _logger.info("%d cases that it does not know are left out: %s", len(new), _names(new))
    return split


def check_autoencoder_split(record: SplitRecord, split: Split, source: Source) -> None:
    """Refuse a split that tests on cases which the autoencoder of a latent diffusion model was trained on.

    Raises:
        ValueError: When it does.
    """
    trained = record.trained_on(split["test"], source)
    if trained:
        raise ValueError(
            f"the autoencoder was trained on {len(trained)} of the {len(split['test'])} test cases "
            f"({few(trained)}, by {record.path}); give both trainings one split: the autoencoder's is "
            f"{_told(record.settings)}"
        )


def _check_same_cases(record: SplitRecord, known: Sequence[Case], source: Source) -> None:
    used = {name for names in record.parts.values() for name in names}
    gone = used - {case["case"] for case in known}
    if gone:
        present = {case["case"] for case in source.cases}
        what = "changed" if gone <= present else "missing"
        raise ValueError(
            f"the data set is not the one that the run began with: {len(gone)} of {len(used)} cases in {record.path} "
            f"are {what} ({few(gone)}); put them back, or train without resume"
        )


def _check_other_split(record: SplitRecord, split: Split, given: dict[str, Any], source: Source, resume: bool) -> None:
    trained = record.trained_on(split["test"], source)
    if trained:
        raise ValueError(
            f"{_told(given)} would test on {len(trained)} cases that the weights were trained on ({few(trained)}), by "
            f"{record.path}; leave out {', '.join(given)}, and that split is used"
        )
    if resume:
        raise ValueError(
            f"{_told(given)} makes another split than the run began with, by {record.path}; leave out "
            f"{', '.join(given)}, or train without resume"
        )
    _logger.info("%s makes another split than %s; none of its test cases was trained on", _told(given), record.path)


def _new_cases_test(record: SplitRecord, split: Split, new: Sequence[Case], source: Source) -> Split:
    """The split where no recorded test case is there: the cases that the record does not know test."""
    trained = set(record.trained_on(new, source))
    test = [case for case in new if case["case"] not in trained]
    if not test:
        raise ValueError(
            f"none of the test cases of {record.path} is among the {len(source.cases)} cases, which the weights were "
            f"trained or chosen on ({_names(source.cases)}); give the data set with the test cases"
        )
    _logger.info("all %d cases that %s does not know test: %s", len(test), record.path, _names(test))
    if trained:
        _logger.info("%d cases are training cases under other names and left out: %s", len(trained), few(trained))
    doubtful = {case["case"] for case in test} & record.fingerprints.keys()
    if doubtful:
        _logger.info("%d of them have names of its cases, but another content: %s", len(doubtful), few(doubtful))
    return {"train": split["train"] or test, "val": split["val"] or test, "test": test}


def _given(settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a user set otherwise than the training did; a seed makes no split but a shuffled one."""
    given = {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS[name] and value != recorded.get(name, DEFAULTS[name])
    }
    if not settings["shuffle_split"]:
        given.pop("seed", None)
    return given


def _merged(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The training's settings under those that are given, without those that would hide a given one."""
    merged = {**DEFAULTS, **recorded, **given}
    if "split_file" not in given and given.keys() & {"fold", "split_by", "shuffle_split", "seed"}:
        merged["split_file"] = None
    if given.get("split_by", "case") != "case" and "fold" not in given:
        merged["fold"] = None
    return merged


def _overlap(case: Case, slab: Slab | None) -> bool:
    """Whether a case, or its slab, has slices of another slab; what has no slab is whole."""
    return "slab" not in case or slab is None or (case["slab"][0] < slab[1] and slab[0] < case["slab"][1])


def _slabs(cases: Sequence[Case]) -> dict[str, Slab]:
    return {case["case"]: tuple(case["slab"]) for case in cases if "slab" in case}


def _names(cases: Sequence[Case]) -> str:
    return few([case["case"] for case in cases])


def _told(settings: Mapping[str, Any]) -> str:
    """Settings in words, without those at their defaults."""
    told = [f"{name} {value}" for name, value in settings.items() if value != DEFAULTS[name]]
    return ", ".join(told) or "that of the default settings"
