"""Keep one row of numbers an epoch, as a table and as curves."""

from __future__ import annotations

import csv
import os
import time
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents

from ..utils import replacing, text_file, user_path
from .epoch_end import EpochEnd, at_epoch_end
from .run_folder import hold_while_running
from .training_output import batch_loss, decollate_output

SECONDS_BETWEEN_DRAWINGS = 30.0


def scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers; a metric of several values becomes ``name_0``, ``name_1``, ..."""
    flat = {}
    for name, value in metrics.items():
        values = torch.as_tensor(value).flatten().tolist()
        flat |= {name: values[0]} if len(values) == 1 else {f"{name}_{i}": v for i, v in enumerate(values)}
    return flat


class History:
    """One row an epoch: loss, learning rate, seconds, share of them spent waiting for data, validation metrics.

    Writes ``metrics.csv`` after each epoch and ``curves.png`` now and then and at the end. The other handlers find it
    as ``history`` in the trainer's state, whatever its place among them, and the trainer's output as items.

    Args:
        output_dir: folder of both files.
        evaluator: its metrics join the row of the epochs it runs in.

    Attributes:
        rows: a dict of plain numbers for each finished epoch.
    """

    def __init__(self, output_dir: str | os.PathLike, evaluator: Engine | None = None) -> None:
        self.output_dir = user_path(output_dir)
        self.evaluator = evaluator
        self.rows: list[dict[str, float]] = []
        self._drawn = 0.0

    def attach(self, engine: Engine) -> None:
        """Watch ``engine``, the trainer."""
        engine.state.history = self
        hold_while_running(engine, self.output_dir)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_waiting)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._end_waiting)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, decollate_output)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_loss)
        at_epoch_end(engine, EpochEnd.NUMBERS, self._end_epoch)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start_epoch(self, engine: Engine) -> None:
        self._loss, self._items, self._waited = 0.0, 0, 0.0

    def _start_waiting(self, engine: Engine) -> None:
        self._asked = time.perf_counter()

    def _end_waiting(self, engine: Engine) -> None:
        self._waited += time.perf_counter() - self._asked
        self._learning_rate = engine.optimizer.param_groups[0]["lr"]

    def _add_loss(self, engine: Engine) -> None:
        loss, items = batch_loss(engine.state.output)
        self._loss += loss * items
        self._items += items

    def _end_epoch(self, engine: Engine) -> None:
        total, items = self._loss, self._items
        if idist.get_world_size() > 1:
            sums = torch.tensor([total, items], dtype=torch.float64, device=engine.state.device)
            total, items = idist.all_reduce(sums).tolist()
        seconds = engine.state.times[Events.EPOCH_COMPLETED.name]
        row = {
            "epoch": engine.state.epoch,
            "loss": total / items,
            "learning_rate": float(self._learning_rate),
            "seconds": seconds,
            "waiting": min(self._waited / seconds, 1.0),
        }
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:
            row |= scalars(self.evaluator.state.metrics)
        self.rows.append(row)
        if idist.get_rank() == 0:
            self._write()
            if time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
                self._draw(engine)

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def _write(self) -> None:
        with text_file(self.output_dir / "metrics.csv") as file:
            table = csv.DictWriter(file, self._columns(), restval="")
            table.writeheader()
            table.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in self.rows)

    def _draw(self, engine: Engine) -> None:
        if idist.get_rank() != 0 or not self.rows:
            return
        from matplotlib.figure import Figure

        names = [n for n in self._columns() if n not in ("epoch", "seconds", "waiting")]
        columns = min(len(names), 3)
        lines = -(-len(names) // columns)
        figure = Figure(figsize=(4 * columns, 2.8 * lines), layout="constrained")
        for name, axes in zip(names, figure.subplots(lines, columns, squeeze=False).flat, strict=False):
            points = [(row["epoch"], row[name]) for row in self.rows if name in row]
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else None)
            axes.set_title(name.replace("_", " "), fontsize=10)
            axes.set_xlabel("epoch", fontsize=8)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        for axes in figure.axes[len(names) :]:
            axes.remove()
        with replacing(self.output_dir / "curves.png") as part:
            figure.savefig(part, dpi=100)
        self._drawn = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the rows of ``state``."""
        self.rows = list(state["rows"])
