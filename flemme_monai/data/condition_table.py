"""Numbers of cases in a table beside the images, such as age and weight, of which a network is told."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils import user_path
from .files import image_stem
from .groups import few

VECTOR = "vector"
MISSING = ("", "na", "n/a", "nan", "none")


def column_names(columns: str | Sequence[str] | None) -> list[str]:
    """The names in a setting that has one, several, or several in one word with commas; [] for none."""
    names = columns.split(",") if isinstance(columns, str) else columns or ()
    return [str(name).strip() for name in names]


def add_vectors(
    cases: Sequence[dict[str, Any]], table: str | os.PathLike | None, columns: str | Sequence[str] | None
) -> None:
    """Give cases their numbers as ``vector`` (n,), in the order of the columns.

    The first column of the table names the cases: by the whole name (``hand/0001``), by the file's (``0001.png``,
    ``0001``), or by a folder above it, such as a patient's.

    Args:
        cases: which get it.
        table: a CSV file, or a TSV file such as the ``participants.tsv`` of BIDS, with a line of names.
        columns: whose numbers; None: nothing is done.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no table, it lacks a column, two rows have one name, or a case has no row or no number.
    """
    names = column_names(columns)
    if not names:
        if table:
            raise ValueError(f"condition_table is {str(table)!r} without condition_columns; expected both: name them")
        return
    if not table:
        raise ValueError(
            f"condition_columns is {names} without condition_table; expected a file with these columns: name it"
        )
    path = user_path(table)
    rows = _read(path, names)
    for case in cases:
        case[VECTOR] = _numbers(path, _row(path, rows, case["case"]), case["case"], names)


def vector_statistics(
    cases: Sequence[Mapping[str, Any]], columns: str | Sequence[str] | None
) -> tuple[list[float], list[float]] | tuple[None, None]:
    """Mean and deviation of each number of the cases that train; None twice where there are no columns.

    Raises:
        ValueError: If a number is the same in all of them.
    """
    names = column_names(columns)
    if not names:
        return None, None
    numbers = np.stack([case[VECTOR] for case in cases]).astype(np.float64)  # (N, n)
    mean, std = numbers.mean(0), numbers.std(0)
    same = [name for name, deviation in zip(names, std) if not deviation > 0]
    if same:
        raise ValueError(
            f"{same[0]!r} is {numbers[0, names.index(same[0])]:g} in all {len(numbers)} cases that train; expected "
            "different numbers, from which something can be learned: leave it out of condition_columns"
        )
    return mean.tolist(), std.tolist()


def _read(path: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows by the cases' names."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the table of condition_columns")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text ({error}); expected a CSV or TSV file") from None
    header = text.partition("\n")[0]
    delimiter = "\t" if "\t" in header else ";" if ";" in header else ","
    lines = csv.DictReader(text.splitlines(), delimiter=delimiter)
    fields = [field.strip() for field in lines.fieldnames or ()]
    lines.fieldnames = fields
    missing = [name for name in names if name not in fields[1:]]
    if missing:
        raise ValueError(
            f"{path}: has no column {missing[0]!r} beside the cases' names; expected one of {few(fields[1:])}"
        )
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        name = (line[fields[0]] or "").strip()
        if name in rows:
            raise ValueError(f"{path}: has two rows of {name!r}; expected one: remove the other")
        rows[name] = line
    return rows


def _row(path: Path, rows: Mapping[str, dict[str, str]], case: str) -> dict[str, str]:
    """The row of a case: that of its name, of its file's, or of the nearest folder."""
    *folders, file = case.split("/")
    by_stem = {image_stem(name): row for name, row in rows.items()} if file not in rows else {}
    for name in (case, file, *reversed(folders)):
        if name in rows:
            return rows[name]
        if name == file and name in by_stem:
            return by_stem[name]
    raise ValueError(
        f"{path}: has no row of case {case!r}; expected one called so, as its file or as its folder: add it (the table "
        f"has {few(list(rows))})"
    )


def _numbers(path: Path, row: Mapping[str, str], case: str, names: Sequence[str]) -> np.ndarray:
    """The numbers (n,) in a row."""
    found = []
    for name in names:
        text = (row[name] or "").strip()
        if text.lower() in MISSING:
            raise ValueError(
                f"{path}: case {case!r} has no value in column {name!r}; expected a number: give it, or leave the case "
                "out of the data"
            )
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(
                f"{path}: case {case!r} has {text!r} in column {name!r}; expected a number: write categories as 0 and 1"
            )
        found.append(number)
    return np.asarray(found, dtype=np.float32)
