"""The numbers of a run: one row per epoch, shown while it runs and at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from math import isnan
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer, Workflow

from ..io import write_csv, write_figure
from ..utils import terminal_bar, user_path
from ..visualize import plot_curves
from .events import EpochEnd, at_end, at_epoch_end, hold_while_running
from .training_output import batch_loss, decollate_output

SECONDS_BETWEEN_DRAWINGS = 30.0
SHOWN, SHOWN_METRICS = 12, 5
EXAMPLES = "examples.png"


def scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers; a metric of several values becomes ``name_0``, ``name_1``, ..."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        values = torch.as_tensor(value).flatten().tolist()
        flat |= {name: values[0]} if len(values) == 1 else {f"{name}_{i}": v for i, v in enumerate(values)}
    return flat


class History:
    """One row per epoch: loss, learning rate, seconds, share of them spent waiting for data, validation metrics, and
    what another handler has left as ``watched`` in the trainer's state.

    A loss that is a sum of terms (what it has ``recorded`` of its last call) also has a column ``loss_NAME`` for each,
    which add up to it.

    MONAI's ``MetricLogger`` keeps the loss of each iteration and the metrics in memory and writes no file; its
    ``MetricsSaver`` writes the last values alone. This one writes ``metrics.csv`` after each epoch and ``curves.png``
    now and then and at the end. The other handlers find it as ``history`` in the trainer's state, whatever its place
    among them, and the trainer's output as items.

    Args:
        output_dir: folder of both files.
        evaluator: its metrics join the row of the epochs it runs in.

    Attributes:
        rows: a dict of plain numbers for each finished epoch.
    """

    def __init__(self, output_dir: str | os.PathLike, evaluator: Workflow | None = None) -> None:
        self.output_dir = user_path(output_dir)
        self.evaluator = evaluator
        self.rows: list[dict[str, float]] = []
        self._drawn = 0.0

    def attach(self, engine: Workflow) -> None:
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

    def _start_epoch(self, engine: Workflow) -> None:
        self._loss, self._items, self._waited = 0.0, 0, 0.0
        self._terms: dict[str, float] = {}

    def _start_waiting(self, engine: Workflow) -> None:
        self._asked = time.perf_counter()

    def _end_waiting(self, engine: SupervisedTrainer) -> None:
        self._waited += time.perf_counter() - self._asked
        self._learning_rate = engine.optimizer.param_groups[0]["lr"]

    def _add_loss(self, engine: Workflow) -> None:
        loss, items = batch_loss(engine.state.output)
        self._loss += loss * items
        self._items += items
        terms = getattr(getattr(engine, "loss_function", None), "recorded", {})
        if len(terms) > 1:
            for name, value in terms.items():
                self._terms[name] = self._terms.get(name, 0.0) + float(value) * items

    def _end_epoch(self, engine: Workflow) -> None:
        items, total, *terms = [float(self._items), self._loss, *self._terms.values()]
        if idist.get_world_size() > 1:
            sums = torch.tensor([items, total, *terms], dtype=torch.float64, device=engine.state.device)
            reduced = idist.all_reduce(sums)
            assert isinstance(reduced, torch.Tensor), "a tensor is reduced to a tensor"
            items, total, *terms = reduced.tolist()
        seconds = engine.state.times[Events.EPOCH_COMPLETED.name]
        row: dict[str, float] = {
            "epoch": engine.state.epoch,
            "loss": total / items,
            **{f"loss_{name}": term / items for name, term in zip(self._terms, terms)},
            "learning_rate": float(self._learning_rate),
            "seconds": seconds,
            "waiting": min(self._waited / seconds, 1.0),
        }
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:
            row |= scalars(self.evaluator.state.metrics)
        row |= getattr(engine.state, "watched", {})
        self.rows.append(row)
        if idist.get_rank() == 0:
            names = self._names()
            cells = ([f"{row[name]:.6g}" if name in row else "" for name in names] for row in self.rows)
            write_csv(self.output_dir / "metrics.csv", names, cells)
            if time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
                self._draw(engine)

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def _draw(self, engine: Workflow) -> None:
        if idist.get_rank() == 0 and self.rows:
            names = [name for name in self._names() if name not in ("epoch", "seconds", "waiting")]
            write_figure(self.output_dir / "curves.png", plot_curves(self.rows, names))
            self._drawn = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the rows of ``state``."""
        self.rows = list(state["rows"])


class Progress:
    """A progress bar over each epoch's iterations on a terminal, and one line per epoch everywhere.

    Ignite's ``ProgressBar`` also draws into log files, and keeps its bar open while the validation opens another;
    MONAI's ``StatsHandler`` logs one engine's numbers, the loss and the validation's metrics apart. The line is the
    last row of the engine's ``History``; without one there is a bar alone.

    Args:
        name: what the bar is called when there is no history.
    """

    def __init__(self, name: str = "cases") -> None:
        self.name = name

    def attach(self, engine: Workflow) -> None:
        """Show ``engine``, a trainer or an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._close)
        at_epoch_end(engine, EpochEnd.REPORT, self._line)

    def _open(self, engine: Workflow) -> None:
        state = engine.state
        name = self.name if _history(engine) is None else f"epoch {state.epoch}/{state.max_epochs}"
        self._bar = terminal_bar(state.epoch_length, name)

    def _advance(self, engine: Workflow) -> None:
        if self._bar.disable:
            return
        if _history(engine) is not None:
            self._bar.set_postfix_str(f"loss {batch_loss(engine.state.output)[0]:.4f}", refresh=False)
        self._bar.update()
        if self._bar.n == self._bar.total:  # before a validation opens its own bar
            self._bar.close()

    def _close(self, engine: Workflow) -> None:
        self._bar.close()

    def _line(self, engine: Workflow) -> None:
        history = _history(engine)
        if idist.get_rank() != 0 or history is None:
            return
        state, row = engine.state, history.rows[-1]
        hidden = ("epoch", "learning_rate", "waiting", "seconds")
        shown = {name: value for name, value in row.items() if name not in hidden and not name.startswith("loss_")}
        numbers = [f"{name} {value:.4g}" for name, value in shown.items()]
        numbers += [f"lr {row['learning_rate']:.2e}", f"{row['seconds']:.1f} s"]
        print(f"epoch {state.epoch}/{state.max_epochs}: {', '.join(numbers)}", flush=True)


def _history(engine: Workflow) -> History | None:
    return getattr(engine.state, "history", None)


class RunSummary:
    """Prints one short block when the engine is done: the metrics and the paths of what was written.

    A training's has its examples first, and all metrics of its best validation in one line, which it finds in the
    ``History``. MONAI's ``StatsHandler`` logs metrics at each epoch and knows no files.

    Args:
        folders: folders in which files written since the start are listed.
        evaluator: the trainer's evaluator; without one the attached engine's own metrics are printed.
    """

    def __init__(self, folders: Sequence[str | os.PathLike], evaluator: Workflow | None = None) -> None:
        self.folders = [user_path(folder) for folder in folders]
        self.evaluator = evaluator

    def attach(self, engine: Workflow) -> None:
        """Report on ``engine``, a trainer or an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        at_end(engine, self)

    def _start(self, engine: Workflow) -> None:
        self._started = time.time()

    def __call__(self, engine: Workflow) -> None:
        if idist.get_rank() == 0:
            print("\n".join(["", *self._metrics(engine), *self._files()]), flush=True)

    def _metrics(self, engine: Workflow) -> list[str]:
        if self.evaluator is None:
            found = scalars(engine.state.metrics)
            return [f"{name:<24} {'not defined' if isnan(value) else f'{value:.4f}'}" for name, value in found.items()]
        state = self.evaluator.state
        if state.best_metric_epoch == -1:
            return [f"epoch {engine.state.epoch} of {engine.state.max_epochs}, without validation"]
        rows = [] if (history := _history(engine)) is None else history.rows
        best = next((row for row in rows if row["epoch"] == state.best_metric_epoch), {})
        found = {state.key_metric_name: float(state.best_metric)}
        found |= {name: best[name] for name in scalars(state.metrics) if name in best and name not in found}
        numbers = [_readable(name, value) for name, value in found.items() if not isnan(value)]
        more = len(numbers) - SHOWN_METRICS
        numbers = [*numbers[:SHOWN_METRICS], *([f"{more} more in metrics.csv"] if more > 0 else [])]
        return [f"best {', '.join(numbers)} (epoch {state.best_metric_epoch} of {engine.state.epoch})"]

    def _files(self) -> list[str]:
        # 2 s: file systems may round the time of a file
        new = [
            path
            for folder in dict.fromkeys(self.folders)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.stat().st_mtime > self._started - 2
        ]
        if not new:
            return ["nothing was written"]
        examples = [f"examples: {path}" for path in new if path.name == EXAMPLES]
        others = [path for path in new if path.name != EXAMPLES]
        more = [f"  and {len(others) - SHOWN} more files"] if len(others) > SHOWN else []
        return [*examples, "written:", *(f"  {path}" for path in others[:SHOWN]), *more]


def _readable(name: str, value: float) -> str:
    """A metric with as many digits as say something."""
    return f"{name} {value:.1f} dB" if name.endswith("psnr") else f"{name} {value:.3g}"
