"""Which metric chooses the best model, and when a training no longer gets better."""

from __future__ import annotations

import logging
import math

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from monai.data import Dataset
from monai.engines import Workflow

from ..data import CaseDataset

LOSS = "val_loss"
_logger = logging.getLogger(__name__)


class EarlyStop(EarlyStopping):
    """Ignite's ``EarlyStopping`` on the evaluator's key metric, which stops the trainer that it is attached to.

    MONAI's ``EarlyStopHandler`` 1.6.1 wants larger scores whatever the evaluator wants, has no state to save, counts
    the evaluations that run without a training too, and takes NaN for an improvement. ``TrainingCheckpoint`` finds
    this one as ``early_stop`` in the trainer's state and saves its counter.

    Args:
        evaluator: its key metric is watched, and compared as it compares itself.
        patience: validations without improvement until the stop.
        min_delta: improvements up to this count as none.
    """

    def __init__(self, evaluator: Workflow, patience: int, min_delta: float = 0.0) -> None:
        super().__init__(patience, self._score, evaluator, threshold=min_delta)
        self.evaluator = evaluator

    def attach(self, engine: Workflow) -> None:  # type: ignore[override]  # its events are fixed
        """Watch the evaluator, stop ``engine``, the trainer."""
        self.trainer = engine
        engine.state.early_stop = self
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Workflow) -> None:
        # not before: the evaluator may run alone, without the key metric of a training's validation
        if not self.evaluator.has_event_handler(self, Events.COMPLETED):
            self.evaluator.add_event_handler(Events.COMPLETED, self)

    def _score(self, evaluator: Workflow) -> float:
        score = float(evaluator.state.metrics[evaluator.state.key_metric_name])
        self.mode = "max" if evaluator.metric_cmp_fn(1.0, 0.0) else "min"
        worst = -math.inf if self.mode == "max" else math.inf
        return worst if math.isnan(score) else score

    @property
    def spent(self) -> bool:
        """Whether the patience is used up."""
        return self.counter >= self.patience


class CheckForeground:
    """Warns of classes that no case of a part has; without any foreground to validate on, the loss chooses the best.

    Dice of cases without foreground says only whether something is found where nothing is, and is 1 once nothing is
    predicted; MONAI's evaluator keeps the key metric that it was made with. ``EarlyStop`` and ``TrainingCheckpoint``
    follow the evaluator's choice.

    Args:
        training: items with ``label`` (1, *S), class indices.
        validation: as ``training``.
        num_classes: classes, background included.
        evaluator: the trainer's; has the metric ``val_loss``, a ``ValidationLoss``.
        multi_label: labels are masks (num_classes, *S) of the classes, which are 1, 2, ... then too.
    """

    def __init__(
        self,
        training: Dataset,
        validation: Dataset,
        num_classes: int,
        evaluator: Workflow,
        multi_label: bool = False,
    ) -> None:
        self.training, self.validation = training, validation
        self.num_classes, self.evaluator = num_classes + multi_label, evaluator
        self.multi_label = multi_label

    def attach(self, engine: Workflow) -> None:
        """Check when ``engine``, the trainer, starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        foreground = list(range(1, self.num_classes))
        absent, count = self._absent(self.training, engine)
        if absent == foreground:
            _warn(f"none of the {count} training images has foreground: nothing of it can be learned")
        elif absent:
            _warn(f"none of the {count} training images has {_named(absent)}: it cannot be learned")
        absent, count = self._absent(self.validation, engine)
        if absent == foreground:
            metric = self.evaluator.state.key_metric_name
            self.evaluator.state.key_metric_name = LOSS
            self.evaluator.metric_cmp_fn = _lower
            _warn(
                f"none of the {count} validation cases has foreground: the best model is chosen by the "
                f"validation loss and not by {metric}; give validation cases with foreground"
            )
        elif absent:
            _warn(
                f"none of the {count} validation cases has {_named(absent)}: how much of it is found "
                "does not count when the best model is chosen"
            )

    def _absent(self, dataset: Dataset, engine: Workflow) -> tuple[list[int], int]:
        """The classes that no item of any process has, and the number of all processes' items."""
        own = absent_classes(dataset, self.num_classes, self.multi_label)
        if idist.get_world_size() == 1:
            return own, len(dataset)
        absent = torch.tensor([label in own for label in range(self.num_classes)], device=engine.state.device).int()
        everywhere, count = idist.all_reduce(absent, "MIN"), idist.all_reduce(len(dataset))
        assert isinstance(everywhere, torch.Tensor), "a tensor is reduced to a tensor"
        return everywhere.nonzero().flatten().tolist(), int(count)


def absent_classes(dataset: Dataset, num_classes: int, multi_label: bool = False) -> list[int]:
    """Classes 1, 2, ... that no label map, or no mask, of a data set has; before random transforms."""
    absent = set(range(1, num_classes))
    for index in range(len(dataset)):
        if not absent:
            break
        item = dataset.deterministic(index) if isinstance(dataset, CaseDataset) else dataset[index]
        label = item["label"]
        absent -= {c for c in absent if (label[c - 1] if multi_label else label == c).any()}
    return sorted(absent)


def _named(classes: list[int]) -> str:
    return f"class{'es' * (len(classes) > 1)} {', '.join(map(str, classes))}"


def _lower(new: float, best: float) -> bool:
    return new < best


def _warn(line: str) -> None:
    if idist.get_rank() == 0:
        _logger.warning(line)
