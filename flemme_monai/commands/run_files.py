"""The files that trainings leave: whether they can be read, and in what those of two trainings differ."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..utils.files import PART
from ..utils.weights import read_checkpoint

CLOCKS = ("seconds", "waiting")  # of a row of the history, which no other run repeats
OWN = ("events.", "log.txt")  # of each start of a run


def damage(folder: Path) -> list[str]:
    """The files of a training that cannot be read, and why."""
    from PIL import Image

    def picture(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    def table(path: Path) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            if len({len(row) for row in csv.reader(file)}) != 1:
                raise ValueError("rows of several lengths")

    readers: dict[str, Callable[[Path], Any]] = {
        ".pt": read_checkpoint,
        ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        ".png": picture,
        ".csv": table,
    }
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in readers and not path.name.startswith(PART):
            try:
                readers[path.suffix](path)
            except Exception as error:
                found.append(f"{path.name} cannot be read: {type(error).__name__} {error}")
    return found


def differences(one: Path, other: Path) -> list[str]:
    """In what the folders of two finished trainings differ."""
    names, others = _names(one), _names(other)
    found = [f"only one has {name}" for name in sorted(names ^ others)]
    for name in sorted(names & others):
        place = _unequal(_content(one / name), _content(other / name))
        if place:
            found.append(f"{name} differs in {', '.join(place)}")
    return found


def _names(folder: Path) -> set[str]:
    """The files of a folder, but those of which there is one for each start."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path) for path in files if not path.name.startswith(OWN)}


def _content(path: Path) -> Any:
    """What is compared of a file: all of a checkpoint, a record or a table but the clocks; of another its name."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return _without_clocks(csv.DictReader(file))
    if path.suffix != ".pt":
        return None
    state = read_checkpoint(path)
    return {**state, "history": _without_clocks(state["history"]["rows"])} if "history" in state else state


def _without_clocks(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


def _unequal(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two values differ, by keys and positions."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [place]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in _unequal(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [found for i, pair in enumerate(zip(one, other)) for found in _unequal(*pair, f"{place}/{i}")]
    return [] if one == other else [place or "its parts"]
