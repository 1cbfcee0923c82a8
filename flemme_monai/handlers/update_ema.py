"""Move an average of the weights with the optimizer."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler


class UpdateEMA:
    """Moves Ignite's ``EMAHandler`` once per step of the optimizer, where its own ``attach`` does once per batch.

    Its warm-up counts the same steps. Which one comes next follows from the trainer's epoch, also after a resume.

    Args:
        ema: the average of the weights.
    """

    def __init__(self, ema: EMAHandler) -> None:
        self.ema = ema

    def attach(self, engine: Engine) -> None:
        """Follow the optimizer of ``engine``, a MONAI trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._count)
        self.ema.attach(engine, event=Events.ITERATION_COMPLETED(event_filter=_has_stepped))

    def _count(self, engine: Engine) -> None:
        warmup = getattr(self.ema, "momentum_scheduler", None)
        if warmup is not None:
            steps = -(-engine.state.epoch_length // engine.accumulation_steps)  # per epoch
            warmup.event_index = (engine.state.epoch - 1) * steps


def _has_stepped(engine: Engine, event: int) -> bool:
    """Whether the optimizer makes a step in iteration ``event``; MONAI's trainer makes one at an epoch's end too."""
    batch = (event - 1) % engine.state.epoch_length + 1
    return batch % engine.accumulation_steps == 0 or batch == engine.state.epoch_length
