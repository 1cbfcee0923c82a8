"""How far a run is: a bar on terminals, lines elsewhere."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

BAR = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
SECONDS_BEFORE_BAR = 1.0
SECONDS_BETWEEN_LINES = 30.0
_logger = logging.getLogger(__name__)


def terminal_bar(total: int, name: str, show: bool = True, delay: float = 0.0) -> tqdm:
    """A bar that the first process shows on a terminal, nothing elsewhere, and that leaves no line behind.

    Args:
        total: steps.
        name: what it is called.
        show: false for nothing anywhere.
        delay: seconds until it is shown.

    Returns:
        The bar, a context manager.
    """
    import ignite.distributed as idist
    from tqdm import tqdm

    size = shutil.get_terminal_size()
    return tqdm(
        total=total,
        desc=name,
        bar_format=BAR,
        ncols=size.columns,  # tqdm shows nothing on a terminal that does not know its size
        nrows=size.lines,
        leave=False,
        delay=delay,
        disable=not (show and sys.stderr.isatty() and idist.get_rank() == 0),
    )


class StepProgress:
    """Steps that are done and the time left of what takes long: a bar on a terminal, elsewhere a line now and then.

    Args:
        total: steps.
        name: what they are, in the plural.
        show: false for nothing anywhere.
    """

    def __init__(self, total: int, name: str, show: bool = True) -> None:
        self.total = total
        self.name = name
        self.show = show
        self.done = 0

    def __enter__(self) -> StepProgress:
        self._bar = terminal_bar(self.total, self.name, self.show, SECONDS_BEFORE_BAR)
        self._started = self._said = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def update(self, steps: int = 1) -> None:
        """Some more steps are done."""
        import ignite.distributed as idist

        self.done += steps
        self._bar.update(steps)
        now = time.monotonic()
        if not self.show or not self._bar.disable or now - self._said < SECONDS_BETWEEN_LINES or idist.get_rank() != 0:
            return
        self._said = now
        left = int((now - self._started) / self.done * (self.total - self.done))
        _logger.info("%s: %d of %d, %d:%02d left", self.name, self.done, self.total, *divmod(left, 60))
