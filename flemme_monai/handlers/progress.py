"""Show how far a run is."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..utils import terminal_bar
from .epoch_end import EpochEnd, at_epoch_end
from .history import History
from .training_output import batch_loss


class Progress:
    """A progress bar over each epoch's iterations on a terminal, and one line an epoch everywhere.

    The line is the last row of the engine's ``History``; without one there is a bar alone.

    Args:
        name: what the bar is called when there is no history.
    """

    def __init__(self, name: str = "cases") -> None:
        self.name = name

    def attach(self, engine: Engine) -> None:
        """Show ``engine``, a trainer or an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._close)
        at_epoch_end(engine, EpochEnd.REPORT, self._line)

    def _open(self, engine: Engine) -> None:
        state = engine.state
        name = self.name if _history(engine) is None else f"epoch {state.epoch}/{state.max_epochs}"
        self._bar = terminal_bar(state.epoch_length, name)

    def _advance(self, engine: Engine) -> None:
        if self._bar.disable:
            return
        if _history(engine) is not None:
            self._bar.set_postfix_str(f"loss {batch_loss(engine.state.output)[0]:.4f}", refresh=False)
        self._bar.update()
        if self._bar.n == self._bar.total:  # before a validation opens its own bar
            self._bar.close()

    def _close(self, engine: Engine) -> None:
        self._bar.close()

    def _line(self, engine: Engine) -> None:
        history = _history(engine)
        if idist.get_rank() != 0 or history is None:
            return
        state, row = engine.state, history.rows[-1]
        numbers = [
            f"{name} {row[name]:.4g}" for name in row if name not in ("epoch", "learning_rate", "waiting", "seconds")
        ]
        numbers += [f"lr {row['learning_rate']:.2e}", f"{row['seconds']:.1f} s"]
        print(f"epoch {state.epoch}/{state.max_epochs}: {', '.join(numbers)}", flush=True)


def _history(engine: Engine) -> History | None:
    return getattr(engine.state, "history", None)
