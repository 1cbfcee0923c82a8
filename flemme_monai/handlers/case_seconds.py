"""Seconds that an evaluation takes for each case."""

from __future__ import annotations

import logging
import os
import time

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import IterationEvents, Workflow

from ..io import cell, write_csv
from ..utils import user_path, writable_dir

_logger = logging.getLogger(__name__)


class SaveSeconds:
    """Writes ``seconds.csv``: the seconds of the network and its inferer for each case, without loading and metrics.

    Ignite's ``BasicTimeProfiler`` times whole iterations, loading and all. The cases of a batch share its seconds. The
    first case's are those of a network that has not run yet; the mean that is logged leaves it out where there are
    others.

    Args:
        output_dir: folder of the file.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = user_path(output_dir)
        self._rows: list[tuple[str, float]] = []

    def attach(self, engine: Workflow) -> None:
        """Time ``engine``, an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._end)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self)

    def _begin(self, engine: Workflow) -> None:
        self._began = time.perf_counter()

    def _end(self, engine: Workflow) -> None:
        device = torch.device(engine.state.device)
        if device.type == "cuda":  # whose kernels may still run
            torch.cuda.synchronize(device)
        self._seconds = time.perf_counter() - self._began

    def _add(self, engine: Workflow) -> None:
        cases = [str(item.get("case", "")) for item in engine.state.batch]
        self._rows += [(case, self._seconds / len(cases)) for case in cases]

    def __call__(self, engine: Workflow) -> None:
        if idist.get_rank() != 0 or not self._rows:
            return
        folder = writable_dir(self.output_dir)
        write_csv(folder / "seconds.csv", ["case", "seconds"], ([case, cell(value)] for case, value in self._rows))
        counted = [value for _, value in self._rows[1:] or self._rows]
        _logger.info("%.3g s per case in the mean", sum(counted) / len(counted))
