"""Stop a training that no longer gets better."""

from __future__ import annotations

import math
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from monai.engines import Workflow


class EarlyStop:
    """Stops the trainer after ``patience`` validations without a better key metric; its counter survives a resume.

    ``RunState`` finds it as ``early_stop`` in the trainer's state.

    Args:
        evaluator: its key metric is watched, and compared as it compares itself.
        patience: validations without improvement until the stop.
        min_delta: improvements up to this count as none.
    """

    def __init__(self, evaluator: Workflow, patience: int, min_delta: float = 0.0) -> None:
        self.evaluator = evaluator
        self.patience = patience
        self.min_delta = min_delta
        self._stopping: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Watch the evaluator, stop ``engine``, the trainer."""
        self._stopping = EarlyStopping(self.patience, self._score, engine, threshold=self.min_delta)
        engine.state.early_stop = self
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        # not before: the evaluator may run alone, without the key metric of a training's validation
        if not self.evaluator.has_event_handler(self._stopping, Events.COMPLETED):
            self.evaluator.add_event_handler(Events.COMPLETED, self._stopping)

    def _score(self, evaluator: Workflow) -> float:
        score = float(evaluator.state.metrics[evaluator.state.key_metric_name])
        larger_is_better = evaluator.metric_cmp_fn(1.0, 0.0)
        self._stopping.mode = "max" if larger_is_better else "min"
        worst = -math.inf if larger_is_better else math.inf
        return worst if math.isnan(score) else score

    @property
    def spent(self) -> bool:
        """Whether the patience is used up."""
        return self._stopping is not None and self._stopping.counter >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """The counter and the best score."""
        return dict(self._stopping.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from ``state``."""
        self._stopping.load_state_dict(state)
