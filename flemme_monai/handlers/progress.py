"""Show how far a run is."""

from __future__ import annotations

import shutil
import sys

import ignite.distributed as idist
from ignite.engine import Engine, Events

from .history import History, batch_loss

BAR = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Progress:
    """A progress bar over each epoch's iterations on a terminal, and one line an epoch everywhere.

    Args:
        history: its last row is the epoch's line; without one there is a bar alone. Comes after it in the handlers.
        name: what the bar is called when there is no history.
    """

    def __init__(self, history: History | None = None, name: str = "cases") -> None:
        self.history = history
        self.name = name

    def attach(self, engine: Engine) -> None:
        """Show ``engine``, a trainer or an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._close)
        if self.history is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._line)

    def _open(self, engine: Engine) -> None:
        from tqdm import tqdm

        state = engine.state
        size = shutil.get_terminal_size()
        name = self.name if self.history is None else f"epoch {state.epoch}/{state.max_epochs}"
        self._bar = tqdm(
            total=state.epoch_length,
            desc=name,
            bar_format=BAR,
            ncols=size.columns,  # tqdm shows nothing on a terminal that does not know its size
            nrows=size.lines,
            leave=False,
            disable=not (sys.stderr.isatty() and idist.get_rank() == 0),
        )

    def _advance(self, engine: Engine) -> None:
        if self._bar.disable:
            return
        if self.history is not None:
            self._bar.set_postfix_str(f"loss {batch_loss(engine.state.output)[0]:.4f}", refresh=False)
        self._bar.update()
        if self._bar.n == self._bar.total:  # before a validation opens its own bar
            self._bar.close()

    def _close(self, engine: Engine) -> None:
        self._bar.close()

    def _line(self, engine: Engine) -> None:
        if idist.get_rank() != 0:
            return
        state, row = engine.state, self.history.rows[-1]
        numbers = [
            f"{name} {row[name]:.4g}" for name in row if name not in ("epoch", "learning_rate", "waiting", "seconds")
        ]
        numbers += [f"lr {row['learning_rate']:.2e}", f"{row['seconds']:.1f} s"]
        print(f"epoch {state.epoch}/{state.max_epochs}: {', '.join(numbers)}", flush=True)
