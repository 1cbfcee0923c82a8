"""Which cases are of one patient and stay in one part of a split."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

Case = dict[str, Any]
FOLDER = "folder"
SMALLEST_PART = 3
PART_FOLDERS = {  # parts by the names of folders
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_PATIENT = r"(?:patient|subject|person|case|sub|pat|pt)"
_PATIENT_FOLDER = re.compile(rf"{_PATIENT}[_\- ]?\d+", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d{3}")
_PATIENT_NAME = re.compile(rf"(?:^|(?<=[/_\- ]))({_PATIENT}[_\- ]?)\d+", re.IGNORECASE)
# a number of its own, then "_", "_slice" or "slice", then the last number
_SLICE_NAME = re.compile(
    r"[^/]*\d[^/]*?([_\-](?:[a-z]+[_\-]?)?|[ ]?(?:slice|frame|slc|sl|img|z)[_\- ]?)\d+", re.IGNORECASE
)
_logger = logging.getLogger(__name__)


def first_folder(name: str) -> str:
    """The first sub-folder in a case's name, "" when it lies in none."""
    return name.partition("/")[0] if "/" in name else ""


def top_folder(name: str) -> str:
    """The first sub-folder in a case's name, below a part's (train/, val/, test/) where there is one."""
    first = first_folder(name)
    return (first_folder(name.partition("/")[2]) if first.lower() in PART_FOLDERS else "") or first


def group_names(cases: Sequence[Case], group_by: str) -> dict[str, str]:
    """The group of each case, such as its patient.

    Args:
        cases: all cases.
        group_by: "folder" (the folder that holds the image), or a regular expression that is searched for in the
            case's name: what its groups match together, or the whole match without groups, is the case's group.

    Returns:
        Groups by the cases' names.

    Raises:
        ValueError: If it is no regular expression, or finds nothing in some names.
    """
    if not isinstance(group_by, str):
        raise ValueError(f"group_by is {group_by!r}; expected a regular expression over the case's name, or 'folder'")
    names = [case["case"] for case in cases]
    if group_by == FOLDER:
        groups = {name: name.rpartition("/")[0] for name in names}
    else:
        try:
            expression = re.compile(group_by)
        except re.error as error:
            raise ValueError(
                f"group_by is {group_by!r}, which is no regular expression ({error}); expected one such as "
                r"'case\d+' or '(.+)_slice', or 'folder'"
            ) from None
        groups = {name: _matched(expression.search(name)) for name in names}
    missed = [name for name in names if not groups[name]]
    if missed:
        what = "some cases lie in no sub-folder" if group_by == FOLDER else f"group_by {group_by!r} finds nothing"
        raise ValueError(
            f"{what} in {len(missed)} of {len(names)} names ({few(missed)}); every case needs a group, "
            "change group_by or the names"
        )
    found = sorted(set(groups.values()))
    _logger.info("group_by %s: %d groups of %d cases (%s)", group_by, len(found), len(names), few(found))
    if group_by == FOLDER and len({top_folder(name) for name in names}) < len(found):
        _logger.info(
            "group_by folder takes the folders that hold the images; for the first folders of all set "
            '--group_by "^[^/]+"'
        )
    return groups


def make_groups(cases: Sequence[Case], groups: Mapping[str, str] | None) -> list[list[Case]]:
    """Cases that stay together.

    Without groups of the user's, a sub-folder that is called as a patient (patient01, case_7, sub-003) or holds fewer
    than three cases, and is no class, is one; every other case stands for itself. Where this makes fewer than three
    groups, every case stands for itself.

    Args:
        cases: cases, in order.
        groups: groups by the cases' names, or none.

    Returns:
        The groups, in the order of their first cases.
    """
    if groups is None:
        counts: dict[str, int] = {}
        for case in cases:
            counts[top_folder(case["case"])] = counts.get(top_folder(case["case"]), 0) + 1
        classes = any("class_label" in case for case in cases)
        whole = {
            folder
            for folder, count in counts.items()
            if folder and ((count < SMALLEST_PART and not classes) or _PATIENT_FOLDER.fullmatch(folder))
        }
        names = [case["case"] for case in cases]
        groups = {name: top_folder(name) + "/" if top_folder(name) in whole else name for name in names}
        if len(set(groups.values())) < SMALLEST_PART:
            groups = {name: name for name in names}
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(groups[case["case"]], []).append(case)
    return list(found.values())


def propose_group_by(cases: Sequence[Case]) -> None:
    """Say in one line which ``group_by`` keeps patients together, where names look like several images of each.

    Args:
        cases: all cases, for which no ``group_by`` is set.
    """
    names = [case["case"] for case in cases]
    folders = {top_folder(name) for name in names}
    several = 1 < len(folders) < len(names)
    if several and not any("class_label" in case for case in cases):
        if len(folders) >= SMALLEST_PART and all(map(_PATIENT_FOLDER.fullmatch, folders)):
            _logger.info(
                "the %d sub-folders are called as patients (%s): each stays in one part of the split; "
                '--group_by folder says so, --group_by ".+" divides each folder for itself',
                len(folders),
                few(folders),
            )
            return
        if len(folders) >= SMALLEST_PART and all(map(_LONG_NUMBER.search, folders)):
            _logger.info(
                "the %d sub-folders look like patients (%s): to keep each in one part of the split, set "
                "--group_by folder",
                len(folders),
                few(folders),
            )
            return
    expression = proposed_expression(names)
    if expression is not None:
        found = sorted({_matched(re.search(expression, name)) for name in names})
        _logger.info(
            "the names look like several images of each of %d patients (%s): to keep each in one part of the split, "
            'set --group_by "%s"',
            len(found),
            few(found),
            expression,
        )


def proposed_expression(names: Sequence[str]) -> str | None:
    """A regular expression for names that look like slices of few patients.

    Args:
        names: names of all cases, such as "case12_slice003", "BRATS_001_z12" or "patient1_001".

    Returns:
        The expression, or None for names that say no such thing, such as "img_001".
    """
    for expression in _candidates(names[0]) if names else ():
        matches = [re.search(expression, name) for name in names]
        if all(matches) and SMALLEST_PART <= len({_matched(match) for match in matches}) <= len(names) // 2:
            return expression
    return None


def check_parts(split: Mapping[str, Sequence[Case]], groups: Mapping[str, str] | None, source: str) -> None:
    """Refuse a split that is given by name and puts one group into several parts.

    Args:
        split: cases by part; validation cases that also serve as test count once.
        groups: groups by the cases' names, or none.
        source: what names the parts, for the message.

    Raises:
        ValueError: If a group is in several parts.
    """
    if groups is None:
        return
    parts: dict[str, dict[str, str]] = {}
    for part, cases in split.items():
        if part != "test" or cases != split["val"]:
            for case in cases:
                parts.setdefault(groups[case["case"]], {}).setdefault(part, case["case"])
    torn = {group: found for group, found in parts.items() if len(found) > 1}
    if torn:
        listed = "; ".join(
            f"{group}: " + ", ".join(f"{part} has {name}" for part, name in torn[group].items())
            for group in sorted(torn)[:3]
        )
        raise ValueError(
            f"{source}: puts {len(torn)} of {len(parts)} groups of group_by into several parts ({listed}); "
            "a group belongs to one part, change the lists or group_by"
        )


def few(names: Sequence[str] | Mapping[str, Any] | set[str]) -> str:
    """The first three of some names, sorted."""
    names = sorted(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _candidates(name: str) -> list[str]:
    """Expressions for which a name can be one of several of its patient's, the surest first."""
    found = []
    patient = _PATIENT_NAME.search(name)
    if patient and patient.end() < len(name):
        found.append(rf"{patient[1]}\d+")
    image = _SLICE_NAME.fullmatch(name.rpartition("/")[2])
    if image:
        found.append(rf"([^/]+){image[1]}\d+$")
    return found


def _matched(match: re.Match[str] | None) -> str:
    """The texts of an expression's groups together, or its whole match without groups."""
    if match is None:
        return ""
    return "|".join(part for part in match.groups() if part) if match.re.groups else match[0]
