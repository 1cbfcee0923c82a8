"""How long jobs have taken, and how long those that are left will take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any


class Clock:
    """The times of jobs of which some run at once.

    Args:
        kinds: of the jobs by their keys; those of one kind take about as long.
        at_a_time: how many run at once.
        now: seconds.
    """

    def __init__(
        self, kinds: Mapping[Any, Hashable], at_a_time: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.kinds = kinds
        self.at_a_time = at_a_time
        self.now = now
        self._started: dict[Any, float] = {}
        self._taken: dict[Any, float] = {}

    def start(self, key: Any) -> None:
        """A job begins."""
        self._started[key] = self.now()

    def end(self, key: Any) -> None:
        """A job has ended, well or not."""
        self._taken[key] = self.now() - self._started.get(key, self.now())

    def seconds_left(self) -> float:
        """The time until all have ended: of each what its kind took, or else all."""
        usual = statistics.fmean(self._taken.values())
        total = 0.0
        for key in self.kinds.keys() - self._taken.keys():
            alike = [seconds for other, seconds in self._taken.items() if self.kinds[other] == self.kinds[key]]
            expected = statistics.fmean(alike) if alike else usual
            running = self.now() - self._started[key] if key in self._started else 0.0
            total += max(0.0, expected - running)
        return total / min(self.at_a_time, max(1, len(self.kinds) - len(self._taken)))

    def left(self) -> str:
        """The end of a line that tells of a job; empty after the last."""
        if len(self._taken) == len(self.kinds):
            return ""
        return f"; about {duration(self.seconds_left())} left"


def duration(seconds: float) -> str:
    """Seconds in words."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
