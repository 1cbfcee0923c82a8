"""Schedules of the learning rate of ``torch.optim.lr_scheduler`` by name, after a warm-up."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .utils.errors import did_you_mean

SHORT = {"plateau": "ReduceLROnPlateau", "one_cycle": "OneCycleLR"}
PER_BATCH = ("OneCycleLR", "CyclicLR")  # the others go on once per epoch
_OF_FUNCTIONS = ("LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")


def schedule_names() -> list[str]:
    """The names of the schedules that take numbers alone."""
    found = (name for name, kind in vars(lr_scheduler).items() if isinstance(kind, type))
    return sorted(name for name in found if _is_schedule(name))


def _is_schedule(name: str) -> bool:
    kind = getattr(lr_scheduler, name, None)
    known = isinstance(kind, type) and issubclass(kind, LRScheduler | ReduceLROnPlateau)
    return known and not name.startswith("_") and name not in _OF_FUNCTIONS


class NamedSchedule:
    """A schedule of PyTorch, stepped as a training is: a linear warm-up by the batch, then by the epoch.

    ``OneCycleLR`` and ``CyclicLR`` go on with every batch, ``ReduceLROnPlateau`` with every validation's metric
    (:meth:`validated`). Lengths that are not set (``total_steps``, ``total_iters``, ``T_max``) are those of the run
    after the warm-up, and the peak of a cycle (``max_lr``) is the optimizer's learning rate. Unlike the schedules that
    it holds, its state is numbers only and loads with ``weights_only=True``.

    Args:
        optimizer: its learning rate is where the schedule begins.
        name: of the class, or ``plateau`` or ``one_cycle``.
        total_steps: calls of ``step()``, one per batch, in the whole run.
        warmup_steps: calls of ``step()`` until the schedule begins.
        steps_per_epoch: batches of an epoch.
        options: arguments of the class.

    Raises:
        ValueError: If there is no such schedule, or it does not take an option or needs one that is not given.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        name: str,
        total_steps: int,
        warmup_steps: int,
        steps_per_epoch: int,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        name = SHORT.get(name, name)
        if not _is_schedule(name):
            raise ValueError(
                f"decay is {name!r}; expected cosine, linear, plateau, one_cycle or the name of a schedule in "
                f"torch.optim.lr_scheduler: {did_you_mean(name, schedule_names())}"
            )
        self.optimizer, self.total_steps = optimizer, total_steps
        self.warmup_steps, self.steps_per_epoch = warmup_steps, max(steps_per_epoch, 1)
        self.per_batch = name in PER_BATCH
        self.steps = 0
        rest = max(total_steps - warmup_steps, 1)
        length = rest if self.per_batch else max(rest // self.steps_per_epoch, 1)
        rates = [group["lr"] for group in optimizer.param_groups]
        self.schedule = _made(name, optimizer, dict(options or {}), length, rates)
        self._begins = [group["lr"] for group in optimizer.param_groups]
        self._warm()

    @property
    def last_epoch(self) -> int:
        """Calls of ``step()`` so far."""
        return self.steps

    def get_last_lr(self) -> list[float]:
        """The present learning rates."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on by a batch."""
        self.steps += 1
        done = self.steps - self.warmup_steps
        if done <= 0:
            self._warm()
            return
        is_over = done >= getattr(self.schedule, "total_steps", done + 1)  # where a cycle refuses to go on
        if isinstance(self.schedule, ReduceLROnPlateau) or is_over:
            return
        if self.per_batch or done % self.steps_per_epoch == 0:
            self.schedule.step()

    def _warm(self) -> None:
        share = min((self.steps + 1) / (self.warmup_steps + 1), 1.0)
        for group, rate in zip(self.optimizer.param_groups, self._begins, strict=True):
            group["lr"] = rate * share

    def validated(self, metric: float, better: bool) -> None:
        """Go on by a validation, where the schedule waits for a plateau.

        Args:
            metric: the validation's.
            better: whether more of it is better.
        """
        if isinstance(self.schedule, ReduceLROnPlateau) and self.steps >= self.warmup_steps:
            self.schedule.step(-metric if better else metric)

    def state_dict(self) -> dict[str, Any]:
        """Steps, and the schedule's numbers."""
        plain = (int, float, bool, str, list)
        state = {name: value for name, value in self.schedule.state_dict().items() if isinstance(value, plain)}
        return {"steps": self.steps, "schedule": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the optimizer has its own."""
        self.steps = state["steps"]
        lengths = ("total_steps", "total_iters", "T_max")  # a run that is taken up for more epochs has its own
        self.schedule.__dict__.update({k: v for k, v in state["schedule"].items() if k not in lengths})


def _made(
    name: str, optimizer: Optimizer, options: dict[str, Any], length: int, rates: list[float]
) -> LRScheduler | ReduceLROnPlateau:
    kind = getattr(lr_scheduler, name)
    known = list(inspect.signature(kind).parameters)
    wrong = [option for option in options if option not in known or option in ("optimizer", "last_epoch", "mode")]
    if wrong:
        raise ValueError(f"{name} has no option {wrong[0]!r}; {did_you_mean(wrong[0], known[1:])}")
    for option in ("total_steps", "total_iters", "T_max"):
        if option in known and name != "ConstantLR":
            options.setdefault(option, length)
    if "threshold_mode" in known:
        options.setdefault("threshold_mode", "abs")  # a share of a metric that is turned round has the wrong sign
    if "max_lr" in known:
        options.setdefault("max_lr", rates)
    if name == "CyclicLR":
        options.setdefault("base_lr", [rate / 25 for rate in rates])
    if "cycle_momentum" in known:
        options.setdefault("cycle_momentum", False)
    if name == "OneCycleLR":
        options["total_steps"] += 1  # its last step would be one too many
    try:
        return kind(optimizer, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}; expected its options in decay_options") from None
