"""The split of a training for its evaluation, so that none tests on training cases unnoticed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..utils.files import each_path
from .divide import PARTS, Case, Split
from .groups import few
from .split_record import Source, SplitRecord, read_split

# the settings that make a split, and what they are when a user sets none
DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "shuffle_split": False,
    "split_by": "case",
    "split_file": None,
    "fold": None,
    "num_folds": 5,
    "group_by": None,
    "split": None,
}
_logger = logging.getLogger(__name__)


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
        ValueError: If the split would test on training cases, no case is left to test, or a training cannot go on.
    """
    known = [case for case in source.cases if record.knows(case, source)]
    if resume:
        _check_same_cases(record, known, source)
        _compare_labels(record, source)
    given = _given(source.settings, record.settings)
    if given:
        split = make(_merged(given, record.settings))
        if not record.is_of(split):
            _check_other_split(record, split, given, source, resume)
            return split
    split = record.split(known)
    new = [case for case in source.cases if not record.knows(case, source)]
    trained = record.trained_on(split["test"], source)
    if trained:
        raise ValueError(
            f"the weights beside {record.path} may still be those of an earlier training, which was trained on "
            f"{len(trained)} of its test cases ({few(trained)}): the run that wrote it ended before its first "
            "validation; train again, or name another ckpt_dir"
        )
    if not split["test"]:
        return _new_cases_test(record, split, new, source)
    lost = len(record.parts["test"]) - len(split["test"])
    _logger.info("the split is the training's: %s", record.path)
    if lost:
        _logger.info("%d of its %d test cases are not among the cases", lost, len(record.parts["test"]))
    if new:
        _logger.info("%d cases that it does not know are left out: %s", len(new), _names(new))
    return split


def cases_of_part(cases: Sequence[Case], part: str, records: str | Sequence[str]) -> list[Case]:
    """The cases of a part of the splits that trainings have kept.

    Args:
        cases: all cases of the data set.
        part: "train", "val" or "test".
        records: the trainings' ``split.json``, of several those cases that are in this part of each.

    Returns:
        The cases, in the first record's order.

    Raises:
        ValueError: If there is no such part or record, or a case is missing, changed or a slab of a volume.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; expected one of {', '.join(PARTS)}, or none for all cases: name one")
    splits = [read_split(path) for path in each_path(records)]
    known = [split for split in splits if split is not None]
    if not known or len(known) < len(splits):
        raise ValueError(
            f"part is {part!r} and there is no split.json beside the weights; expected that of their training: leave "
            "part out"
        )
    names = [name for name in known[0].parts[part] if all(name in split.parts[part] for split in known)]
    source = Source(cases, {})
    found = {case["case"]: case for case in cases if known[0].knows(case, source)}
    missing = [name for name in names if name not in found or name in known[0].slabs.get(part, {})]
    if missing or not names:
        what = f"{len(missing)} of the {len(names)} {part} cases of {known[0].path} are missing, changed or slabs"
        raise ValueError(
            f"{what} ({few(missing)}); expected the cases of the training, whole: name its data set, or leave part out"
        )
    return [found[name] for name in names]


def check_autoencoder_split(record: SplitRecord, split: Split, source: Source) -> None:
    """Refuse a split that tests on cases which the autoencoder of a latent diffusion model was trained on.

    Raises:
        ValueError: If it does.
    """
    mend = f"give both trainings one split: the autoencoder's is {_listed(record.settings)}"
    _refuse_trained(record, split, source, "the autoencoder was", mend)


def check_pretrained_split(record: SplitRecord, split: Split, source: Source) -> None:
    """Refuse a split that tests on cases which the weights that a training begins with were trained on.

    Raises:
        ValueError: If it does.
    """
    mend = f"give both trainings one split: theirs is {_listed(record.settings)}"
    _refuse_trained(record, split, source, "the pretrained weights were", mend)


def check_ensemble_split(record: SplitRecord, split: Split, source: Source) -> None:
    """Refuse a split that tests on cases which one of several networks was trained on.

    Raises:
        ValueError: If it does.
    """
    mend = "expected networks with the same test cases, as folds have where the data set names them: "
    _refuse_trained(record, split, source, "a network was", mend + "evaluate each network alone")


def _refuse_trained(record: SplitRecord, split: Split, source: Source, what_was: str, mend: str) -> None:
    trained = record.trained_on(split["test"], source)
    if trained:
        raise ValueError(
            f"by {record.path} {what_was} trained on {len(trained)} of the {len(split['test'])} test cases "
            f"({few(trained)}); {mend}"
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


def _compare_labels(record: SplitRecord, source: Source) -> None:
    """Say which labels are not those that the run began with; they are as good for what is left of it."""
    used = [name for names in record.parts.values() for name in names if name in record.labels]
    other = sorted({name for name in used if record.labels[name] != source.label_fingerprints.get(name)})
    if other:
        _logger.warning(
            "the labels of %d of %d cases are not those that the run began with (%s): it goes on with them as they are",
            len(other),
            len(set(used)),
            few(other),
        )


def _check_other_split(record: SplitRecord, split: Split, given: dict[str, Any], source: Source, resume: bool) -> None:
    trained = record.trained_on(split["test"], source)
    if trained:
        raise ValueError(
            f"{_listed(given)} would test on {len(trained)} cases that the weights were trained on ({few(trained)}); "
            f"leave out {', '.join(given)}, and the training's split is used ({record.path})"
        )
    if resume:
        raise ValueError(
            f"{_listed(given)} makes another split than {record.path}, with which the run began; leave out "
            f"{', '.join(given)}, or train without resume"
        )
    _logger.info("%s makes another split than %s; none of its test cases was trained on", _listed(given), record.path)


def _new_cases_test(record: SplitRecord, split: Split, new: Sequence[Case], source: Source) -> Split:
    """The split where no recorded test case is there: the cases that the record does not know test."""
    trained = {*record.trained_on(new, source), *record.chosen_on(new, source)}
    test = [case for case in new if case["case"] not in trained]
    if not test:
        raise ValueError(
            f"none of the test cases of {record.path} is among the {len(source.cases)} cases, which the weights were "
            f"trained or chosen on ({_names(source.cases)}); give the data set with the test cases"
        )
    _logger.info("all %d cases that %s does not know test: %s", len(test), record.path, _names(test))
    if trained:
        _logger.info("%d cases train or validate under other names and are left out: %s", len(trained), few(trained))
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
    if "split_file" not in given and given.keys() & {"fold", "split_by", "shuffle_split", "seed", "split"}:
        merged["split_file"] = None
    if given.get("split_by", "case") != "case" and "fold" not in given:
        merged["fold"] = None
    return merged


def _names(cases: Sequence[Case]) -> str:
    return few([case["case"] for case in cases])


def _listed(settings: Mapping[str, Any]) -> str:
    """Settings in words, without those at their defaults."""
    listed = [f"{name} {value}" for name, value in settings.items() if value != DEFAULTS[name]]
    return ", ".join(listed) or "that of the default settings"
