"""Step a learning rate schedule, over as many epochs as the trainer has."""

from __future__ import annotations

import logging

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.handlers import LrScheduleHandler
from torch.optim.lr_scheduler import LRScheduler

from ..optimizers import WarmupLR

_logger = logging.getLogger(__name__)


class LearningRate(LrScheduleHandler):
    """Steps a schedule after each iteration; a :class:`WarmupLR` ends where the trainer does.

    Clients of a bundle train it for another number of epochs than its ``epochs``. The first run of a trainer follows
    the trainer's own maximum. Further runs are rounds, as those of federated learning, whose number nobody has told:
    they go along the schedule as it was made, and past its end stay at its floor. Both are logged.

    Args:
        lr_scheduler: any schedule that is stepped once a batch.
    """

    def __init__(self, lr_scheduler: LRScheduler) -> None:
        super().__init__(lr_scheduler, print_lr=False, epoch_level=False)
        self.planned_steps = getattr(lr_scheduler, "total_steps", 0)
        self._runs = 0

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``, the trainer."""
        super().attach(engine)
        if isinstance(self.lr_scheduler, WarmupLR):
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_STARTED, self._follow)

    def _start(self, engine: Engine) -> None:
        self._runs += 1
        self._told = False

    def _follow(self, engine: Engine) -> None:
        # at an epoch's start, when a run that is taken up again has its state
        epochs, length = engine.state.max_epochs, engine.state.epoch_length
        self.lr_scheduler.stretch(epochs * length if self._runs == 1 else self.planned_steps)
        total = self.lr_scheduler.total_steps
        if self._told or idist.get_rank() != 0:
            return
        if self.lr_scheduler.last_epoch >= total:
            self._told = True
            rate = self.lr_scheduler.get_last_lr()[0]
            _logger.info("the learning rate stays at %.3g after the %d epochs of its schedule", rate, total // length)
        elif total != self.planned_steps:
            self._told = True
            _logger.info("the learning rate follows the trainer's %d epochs", epochs)
