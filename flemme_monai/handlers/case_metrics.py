"""Metrics of each case and their summary as tables."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
from ignite.engine import Events
from monai.engines import Workflow
from monai.utils import string_list_all_gather

from ..data.groups import top_folder
from ..io import cell, write_csv
from ..metrics import per_case, summarise
from ..utils import user_path, writable_dir


class SaveCaseMetrics:
    """Writes ``cases.csv`` (a row per case and class) and ``summary.csv`` (mean, std and n of each metric and class).

    Where cases lie in several sub-folders, ``folders.csv`` has the summary of each, by the first folder in their names.

    MONAI's ``MetricsSaver`` writes two files per metric, names classes by number and cases by path (slices of one
    volume alike), leaves the counts of confusion matrices as counts, and half a file where it dies.

    Values come from ``engine.state.metric_details``, that is from MONAI's metric handlers with ``save_details``; let
    them leave the background out (``include_background`` false). NaN (what is not defined, as a distance to an absent
    class) is an empty cell; n, mean and std of the summary are of what is finite, and its means become the
    engine's metrics.

    Args:
        output_dir: folder of both files.
        class_names: names of the metrics' columns; one name more than columns means that the first, the background, is
            left out. Without names a single column is "all" and several are "1", "2", ...
        metrics: names to report; by default all that have details.
        of_cases: names of metrics that have one value per case, of all classes together.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        of_cases: Sequence[str] = (),
    ) -> None:
        self.output_dir = user_path(output_dir)
        self.class_names = None if class_names is None else list(class_names)
        self.metrics = None if metrics is None else list(metrics)
        self.of_cases = of_cases
        self._cases: list[str] = []

    def attach(self, engine: Workflow) -> None:
        """Report on ``engine``, an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_cases)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Workflow) -> None:
        # MONAI warns of each case whose class is absent, which the summary counts, and of its own calls
        for message in ("the (prediction|ground truth) of class .* is all 0", "monai.metrics.utils get_mask_edges:"):
            warnings.filterwarnings("ignore", message=message)
        self._cases = []
        if idist.get_rank() == 0:
            writable_dir(self.output_dir)

    def _add_cases(self, engine: Workflow) -> None:
        for item in engine.state.batch:
            self._cases.append(f"{item['case']}_{int(item['slice']):03d}" if "slice" in item else str(item["case"]))

    def __call__(self, engine: Workflow) -> None:
        cases = string_list_all_gather(self._cases) if idist.get_world_size() > 1 else self._cases
        if idist.get_rank() != 0:
            return
        found = engine.state.metric_details
        names = list(found) if self.metrics is None else self.metrics
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(
                f"no details of the metrics {missing}, there are {list(found)}: give them save_details=True"
            )
        tables = {}
        for name in names:
            values = per_case(name, found[name])  # (N, C)
            tables[name] = dict(zip(self._columns(name, values.shape[1]), values.T))
        classes = dict.fromkeys(c for table in tables.values() for c in table)
        rows = (
            [case, c, *(cell(table[c][i]) if c in table else "" for table in tables.values())]
            for i, case in enumerate(cases)
            for c in classes
        )
        write_csv(self.output_dir / "cases.csv", ["case", "class", *tables], rows)
        summary = [(name, *row) for name, table in tables.items() for row in summarise(table)]
        cells = ([name, c, cell(mean), cell(std), n] for name, c, mean, std, n in summary)
        write_csv(self.output_dir / "summary.csv", ["metric", "class", "mean", "std", "n"], cells)
        self._write_folders(cases, tables)
        # a metric's last row is its only class, or the mean over them
        engine.state.metrics |= {name: float(mean) for name, _, mean, _, _ in summary}

    def _write_folders(self, cases: Sequence[str], tables: dict[str, dict[str, np.ndarray]]) -> None:
        """The summary of each sub-folder, where there are several."""
        folders = [top_folder(case) for case in cases]
        names = sorted(set(folders))
        if len(names) < 2:
            return
        rows = []
        for folder in names:
            chosen = np.array([other == folder for other in folders])
            for metric, table in tables.items():
                found = summarise({column: np.asarray(values)[chosen] for column, values in table.items()})
                rows += [[folder, metric, c, cell(mean), cell(std), n] for c, mean, std, n in found]
        write_csv(self.output_dir / "folders.csv", ["folder", "metric", "class", "mean", "std", "n"], rows)

    def _columns(self, name: str, count: int) -> list[str]:
        names = self.class_names
        if names is None or name in self.of_cases:
            return ["all"] if count == 1 else [str(i + 1) for i in range(count)]
        if not count <= len(names) <= count + 1:
            raise ValueError(f"class_names {names} do not fit the {count} columns of {name}")
        return names[-count:]
