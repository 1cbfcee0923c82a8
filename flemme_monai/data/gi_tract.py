"""The layout of Kaggle's UW-Madison GI tract challenge: slices of scans of days of cases, and train.csv of codes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .class_masks import ClassMasks, Code
from .files import is_junk
from .matching import Case

ORGANS = ("large_bowel", "small_bowel", "stomach")
CSV = "train.csv"
COLUMNS = ("id", "class", "segmentation")
BY_CASE = r"^case\d+"  # a patient's days stay together
_DAY = re.compile(r"(case\d+)_day\d+")
_SLICE = re.compile(r"(slice_\d+)_(\d+)_(\d+)_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)\.png", re.IGNORECASE)


class NamedSize(NamedTuple):
    """What the name of a slice's file says of its pixels: their numbers along two axes, and their spacings in mm."""

    numbers: tuple[int, int]
    spacings: tuple[float, float]


def is_gi_tract(folder: Path) -> bool:
    """Whether a data set lies in this layout: its train.csv says so, or folders of scans do."""
    table = folder / CSV
    if table.is_file():
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            if {*COLUMNS} <= {*file.readline().strip().split(",")}:
                return True
    return any(next(_scans(root), None) is not None for root in (folder / "train", folder))


def gi_tract_cases(folder: Path, labels: bool) -> list[Case]:
    """The slices of a folder in this layout, of ``train/`` where there is a ``train.csv``.

    Args:
        folder: the data set's folder.
        labels: every slice needs its masks; without, they are kept where they are found.

    Returns:
        Items, sorted by case, day and slice: ``image`` (a path), ``case`` (such as "case7/case7_day0_slice_0001", whose
        last part is the id), ``pixel_size`` (a :class:`NamedSize`) and, where it is known, ``label``.

    Raises:
        FileNotFoundError: If train.csv names a slice that is not there.
        ValueError: If train.csv is malformed, or a slice has no line in it.
    """
    table = folder / CSV
    images: dict[str, Case] = {}
    for scans in _scans(folder / "train" if table.is_file() else folder):
        for path in sorted(scans.iterdir()):
            if is_junk(path.name):
                continue
            match = _SLICE.fullmatch(path.name)
            if match is None:
                raise ValueError(
                    f"{path}: expected the name slice_<number>_<width>_<height>_<spacing>_<spacing>.png: rename it, or "
                    "take it out of the folder"
                )
            sizes = NamedSize((int(match[2]), int(match[3])), (float(match[4]), float(match[5])))
            if min(sizes.spacings) <= 0:
                raise ValueError(f"{path}: has a spacing of 0 mm in its name; expected more: rename it")
            identity = f"{scans.parent.name}_{match[1]}"
            if identity in images:
                raise ValueError(f"{path}: is slice {identity}, as {images[identity]['image']}: remove one")
            case = f"{scans.parents[1].name}/{identity}"
            images[identity] = {"image": str(path), "case": case, "pixel_size": sizes}
    if table.is_file():
        codes = _codes(table, set(images))
        missing = next((identity for identity in images if identity not in codes), None)
        if missing is not None and labels:
            raise ValueError(
                f"{images[missing]['image']}: {table} has no line of {missing}; expected one per class: add them, or "
                "remove the image"
            )
        for identity, masks in codes.items():
            images[identity]["label"] = masks
    elif labels:
        raise ValueError(f"{folder}: has no {CSV}, whose codes are the masks: put it beside train/")
    return list(images.values())


def read_codes(table: Path, column: str = "segmentation") -> dict[str, dict[str, Code]]:
    """The codes of a file of codes, by id and class.

    Args:
        table: the file, such as train.csv.
        column: the column of the codes; "predicted" of a submission.

    Raises:
        ValueError: If a column is missing, a line is malformed, or an id has a class twice.
    """
    found: dict[str, dict[str, Code]] = {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        wanted = ("id", "class", column)
        if rows.fieldnames is None or not {*wanted} <= {*rows.fieldnames}:
            raise ValueError(
                f"{table}:1: has the columns {', '.join(rows.fieldnames or ()) or 'none'}; expected "
                f"{', '.join(wanted)}: mend the first line"
            )
        for row in rows:
            where = f"{table}:{rows.line_num}"
            if None in row or None in row.values() or not row["id"] or not row["class"]:
                raise ValueError(f"{where}: expected {', '.join(wanted)}: mend that line")
            of_image = found.setdefault(row["id"], {})
            if row["class"] in of_image:
                other = of_image[row["class"]].where.rpartition(":")[2]
                raise ValueError(f"{where}: has {row['class']} of {row['id']}, as line {other} has: remove one of both")
            of_image[row["class"]] = Code(row[column], where)
    return found


def _codes(table: Path, known: set[str]) -> dict[str, ClassMasks]:
    """The masks by id, of ids that are known."""
    found = read_codes(table)
    names = tuple(sorted({name for of_image in found.values() for name in of_image}))
    for identity, of_image in found.items():
        where = next(iter(of_image.values())).where
        if identity not in known:
            raise FileNotFoundError(
                f"{where}: there is no image of {identity} in {table.parent / 'train'}; expected "
                "case*/case*_day*/scans/slice_*.png: add it, or remove the line"
            )
        absent = next((name for name in names if name not in of_image), None)
        if absent is not None:
            raise ValueError(
                f"{where}: there is no line of {absent} of {identity}; expected one of each of {', '.join(names)}, "
                "with an empty code where there is none: add it"
            )
    return {
        identity: ClassMasks(names, tuple(of_image[name] for name in names)) for identity, of_image in found.items()
    }


def _scans(folder: Path) -> Iterator[Path]:
    """The folders of slices, sorted by their names, below a folder or its test/."""
    for root in (folder, folder / "test"):
        days = root.glob("case*/case*_day*/scans") if root.is_dir() else ()
        for scans in sorted(days, key=lambda path: _numbers(path.parent.name)):
            match = _DAY.fullmatch(scans.parent.name)
            if match and match[1] == scans.parents[1].name and scans.is_dir():
                yield scans


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
