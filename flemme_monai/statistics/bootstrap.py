"""Intervals of means over cases and trainings: what another draw of both would have given."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and the bounds between which it lies at a level.

    Attributes:
        mean: of all values.
        low: the lower bound.
        high: the upper bound.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def hierarchical_interval(values: np.ndarray, resamples: int = 2000, level: float = LEVEL, seed: int = 0) -> Interval:
    """The percentile interval of a mean by a bootstrap over trainings and, inside each, over cases.

    Trainings are drawn with replacement, and the cases anew for all of them, since all were tested on the same ones
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 3.8). Of two conditions it takes the
    differences of their values.

    Args:
        values: (trainings, cases); NaN where a case has none.
        resamples: how often both are drawn.
        level: the share of resampled means within the bounds.
        seed: of the draws.

    Raises:
        ValueError: If there is no value.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"values have the shape {values.shape}; expected (trainings, cases): give at least one of both."
        )
    random = np.random.default_rng(seed)
    trainings, cases = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a draw of cases that have no value
        means = [
            np.nanmean(values[np.ix_(random.integers(trainings, size=trainings), random.integers(cases, size=cases))])
            for _ in range(resamples)
        ]
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.nanmean(values)), float(low), float(high))
