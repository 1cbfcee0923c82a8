"""What the runs of a comparison found, as tables that need no run any more: runs, cases, curves and costs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..commands.train_runs import METRICS
from ..io import write_csv
from ..utils.files import text_file
from .plan import Run

LOWER_IS_BETTER = ("surface_distance",)
TABLES = ("runs", "cases", "curves", "costs")
ABOUT = "comparison.json"
WORDS = (
    "data",
    "bundle",
    "architecture",
    "encoder",
    "channels",
    "case",
    "class",
    "commit",
)  # columns that are no number


@dataclass(frozen=True)
class Results:
    """The tables of a comparison, a dict a row.

    Args:
        runs: a row a finished run.
        cases: the metrics of each case and class of each run.
        curves: loss and key metric of each epoch of each run.
        costs: a row for each bundle and data set.
        about: ``task``, ``metrics``, ``command``, ``environment``, ``failed``, ``planned`` and more, see ``collect``.
    """

    runs: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are compared, the most important first."""
        return METRICS[self.about["task"]]

    @cached_property
    def data(self) -> list[str]:
        """The names of the data sets."""
        return list(dict.fromkeys(row["data"] for row in self.runs))

    def bundles(self, data: str) -> list[str]:
        """The bundles that have a run on a data set."""
        return list(dict.fromkeys(row["bundle"] for row in self.runs if row["data"] == data))

    def of(self, data: str, bundle: str) -> list[dict[str, Any]]:
        """The runs of a bundle on a data set."""
        return [row for row in self.runs if (row["data"], row["bundle"]) == (data, bundle)]

    def by_seed(self, data: str, bundle: str, metric: str) -> dict[Any, float]:
        """The metric of each seed, the mean over its folds."""
        values: dict[Any, list[float]] = {}
        for row in self.of(data, bundle):
            if known(row.get(metric)):
                values.setdefault(row["seed"], []).append(row[metric])
        return {seed: float(np.mean(found)) for seed, found in sorted(values.items())}

    @cached_property
    def _values(self) -> dict[tuple[str, str], dict[tuple[Any, str], dict[str, list[float]]]]:
        found: dict[tuple[str, str], dict[tuple[Any, str], dict[str, list[float]]]] = {}
        for row in self.cases:
            metrics = found.setdefault((row["data"], row["bundle"]), {}).setdefault((row["seed"], row["case"]), {})
            for name in self.metrics:
                if known(row.get(name)):
                    metrics.setdefault(name, []).append(row[name])
        return found

    def matrix(self, data: str, bundles: Sequence[str], metric: str) -> np.ndarray:
        """A metric of several bundles on the seeds and cases that any of them has.

        Args:
            data: name of the data set.
            bundles: names.
            metric: its name.

        Returns:
            (bundles, seeds, cases), means over a case's classes; NaN where there is none. Of seeds those are left out
            that a bundle has no run of.
        """
        tables = [self._values.get((data, bundle), {}) for bundle in bundles]
        seeds = sorted(set.intersection(*({seed for seed, _ in table} for table in tables)))
        cases = sorted({case for table in tables for _, case in table})
        values = np.full((len(bundles), len(seeds), len(cases)), np.nan)
        for i, table in enumerate(tables):
            for j, seed in enumerate(seeds):
                for k, case in enumerate(cases):
                    found = table.get((seed, case), {}).get(metric)
                    if found:
                        values[i, j, k] = np.mean(found)
        return values

    def write(self, folder: Path) -> None:
        """Write the tables, and ``comparison.json``."""
        for name in TABLES:
            rows = getattr(self, name)
            columns = list(dict.fromkeys(column for row in rows for column in row))
            write_csv(folder / f"{name}.csv", columns, ([_cell(row.get(column)) for column in columns] for row in rows))
        with text_file(folder / ABOUT) as file:
            json.dump(self.about, file, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Results:
        """The tables of a folder.

        Raises:
            FileNotFoundError: If it holds no comparison.
        """
        if not (folder / ABOUT).is_file():
            raise FileNotFoundError(
                f"{folder} has no {ABOUT}; expected the folder of a comparison: name the --output of one"
            )
        tables = {name: list(_rows(folder / f"{name}.csv")) for name in TABLES}
        return cls(**tables, about=json.loads((folder / ABOUT).read_text(encoding="utf-8")))


def known(value: float | None) -> bool:
    """Whether a metric has a value: none and infinite ones, as the distance to what was not found, are none."""
    return value is not None and math.isfinite(value)


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: value if name in WORDS else _number(value) for name, value in row.items()}


def _number(text: str) -> Any:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def collect(found: Mapping[Run, Mapping[str, Any]], costs: list[dict[str, Any]], about: dict[str, Any]) -> Results:
    """The tables of finished runs.

    Args:
        found: contents of ``result.json``.
        costs: rows, see :class:`Results`.
        about: what else is to be known of the comparison; ``task`` is added.
    """
    runs, cases, curves = [], [], []
    for run, content in found.items():
        key = {"data": run.data, "bundle": run.entry.name, "fold": run.fold, "seed": run.seed}
        row = {name: value for name, value in content["row"].items() if name != "bundle"}
        folder = run.folder if (run.folder / "evaluate").is_dir() else run.folder.parent
        curve = list(_rows(folder / "train" / "metrics.csv"))
        more = {
            "architecture": run.entry.architecture,
            "encoder": run.entry.encoder,
            "epochs": run.budget["settings"]["epochs"],
            "seconds": sum(each["seconds"] for each in curve) or None,
            "commit": content.get("environment", {}).get("commit"),
        }
        runs.append({**key, **row, **more})
        names = METRICS[run.entry.task]
        for case in _rows(folder / "evaluate" / "cases.csv"):
            cases.append({**key, "case": case["case"], "class": case["class"], **{n: case.get(n) for n in names}})
        for epoch in curve:
            curves.append({**key, **{n: epoch.get(n) for n in ("epoch", "loss", names[0])}})
    tasks = {run.entry.task for run in found}
    return Results(runs, cases, curves, costs, {"task": tasks.pop(), **about})
