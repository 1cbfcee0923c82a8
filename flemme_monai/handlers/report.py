"""Say at the end of a run what came out and where it lies."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from math import isnan

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..utils import user_path
from .epoch_end import at_end
from .history import scalars

SHOWN = 12


class Report:
    """Prints one short block when the engine is done: the metrics and the paths of what was written.

    Args:
        folders: folders in which files written since the start are listed.
        evaluator: the trainer's evaluator; without one the attached engine's own metrics are printed.
    """

    def __init__(self, folders: Sequence[str | os.PathLike], evaluator: Engine | None = None) -> None:
        self.folders = [user_path(folder) for folder in folders]
        self.evaluator = evaluator

    def attach(self, engine: Engine) -> None:
        """Report on ``engine``, a trainer or an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        at_end(engine, self)

    def _start(self, engine: Engine) -> None:
        self._started = time.time()

    def __call__(self, engine: Engine) -> None:
        if idist.get_rank() == 0:
            print("\n".join(["", *self._metrics(engine), *self._files()]), flush=True)

    def _metrics(self, engine: Engine) -> list[str]:
        if self.evaluator is None:
            found = scalars(engine.state.metrics)
            return [f"{name:<24} {'not defined' if isnan(value) else f'{value:.4f}'}" for name, value in found.items()]
        state = self.evaluator.state
        if state.best_metric_epoch == -1:
            return [f"epoch {engine.state.epoch} of {engine.state.max_epochs}, without validation"]
        name = state.key_metric_name
        lines = [f"best {name}: {float(state.best_metric):.4f} at epoch {state.best_metric_epoch}"]
        if name in state.metrics:
            lines.append(f"last {name}: {float(state.metrics[name]):.4f} at epoch {state.epoch}")
        return lines

    def _files(self) -> list[str]:
        # 2 s: file systems may round the time of a file
        new = [
            path
            for folder in dict.fromkeys(self.folders)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.stat().st_mtime > self._started - 2
        ]
        more = [f"  and {len(new) - SHOWN} more files"] if len(new) > SHOWN else []
        return ["written:", *(f"  {path}" for path in new[:SHOWN]), *more] if new else ["nothing was written"]
