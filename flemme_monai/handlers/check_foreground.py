"""Say before a training which classes its labels do not have, and choose the best model by what can be seen."""

from __future__ import annotations

import logging

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.engines import Workflow
from torch.utils.data import Dataset

from ..data import CaseDataset

LOSS = "val_loss"
_logger = logging.getLogger(__name__)


class CheckForeground:
    """Warns of classes that no case of a part has; without any foreground to validate on, the loss chooses the best.

    Dice of cases without foreground says only whether something is found where nothing is, and is 1 once nothing is
    predicted. ``EarlyStop`` and ``RunState`` follow the evaluator's choice.

    Args:
        training: items with ``label`` (1, *S), class indices.
        validation: as ``training``.
        num_classes: classes, background included.
        evaluator: the trainer's; has the metric ``val_loss``, a ``ValidationLoss``.
    """

    def __init__(self, training: Dataset, validation: Dataset, num_classes: int, evaluator: Workflow) -> None:
        self.training, self.validation = training, validation
        self.num_classes, self.evaluator = num_classes, evaluator

    def attach(self, engine: Engine) -> None:
        """Check when ``engine``, the trainer, starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        foreground = list(range(1, self.num_classes))
        absent = absent_classes(self.training, self.num_classes)
        if absent == foreground:
            _warn(f"none of the {len(self.training)} training images has foreground: nothing of it can be learned")
        elif absent:
            _warn(f"none of the {len(self.training)} training images has {_named(absent)}: it cannot be learned")
        absent = absent_classes(self.validation, self.num_classes)
        if absent == foreground:
            metric = self.evaluator.state.key_metric_name
            self.evaluator.state.key_metric_name = LOSS
            self.evaluator.metric_cmp_fn = _lower
            _warn(
                f"none of the {len(self.validation)} validation cases has foreground: the best model is chosen by the "
                f"validation loss and not by {metric}; give validation cases with foreground"
            )
        elif absent:
            _warn(
                f"none of the {len(self.validation)} validation cases has {_named(absent)}: how much of it is found "
                "does not count when the best model is chosen"
            )


def absent_classes(dataset: Dataset, num_classes: int) -> list[int]:
    """Classes 1, 2, ... that no label of a data set has; of a ``CaseDataset`` before its random transforms."""
    absent = set(range(1, num_classes))
    for index in range(len(dataset)):
        if not absent:
            break
        item = dataset.deterministic(index) if isinstance(dataset, CaseDataset) else dataset[index]
        absent -= {c for c in absent if (item["label"] == c).any()}
    return sorted(absent)


def _named(classes: list[int]) -> str:
    return f"class{'es' * (len(classes) > 1)} {', '.join(map(str, classes))}"


def _lower(new: float, best: float) -> bool:
    return new < best


def _warn(line: str) -> None:
    if idist.get_rank() == 0:
        _logger.warning(line)
