"""Several methods on the same cases by their ranks (Demsar, Statistical Comparisons of Classifiers, JMLR 2006)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from .power import ALPHA


class RankComparison(NamedTuple):
    """The mean ranks of several methods.

    Attributes:
        ranks: of each method, 1 is the best, (methods,).
        p: of Friedman's test, that all methods are alike; NaN with fewer than three methods.
        critical: the difference of mean ranks from which on two methods differ (Nemenyi 1963).
        cases: how many were ranked.
    """

    ranks: np.ndarray
    p: float
    critical: float
    cases: int


def compare_ranks(values: np.ndarray, higher_is_better: bool = True, alpha: float = ALPHA) -> RankComparison:
    """Rank methods on each case.

    Args:
        values: (cases, methods); a case that lacks a value is left out.
        higher_is_better: whether the largest value has rank 1.
        alpha: level of the critical difference.

    Raises:
        ValueError: If there are fewer than two methods, or no case has all values.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values).all(1)] if values.ndim == 2 else values
    if values.ndim != 2 or values.shape[1] < 2 or not len(values):
        raise ValueError(
            f"values to rank have the shape {values.shape}; expected (cases, methods) with at least a case that has "
            "all values and two methods: name more"
        )
    ranks = stats.rankdata(-values if higher_is_better else values, axis=1)
    cases, methods = ranks.shape
    differ = methods > 2 and cases > 1 and np.ptp(ranks, axis=1).any()
    p = float(stats.friedmanchisquare(*ranks.T).pvalue) if differ else float("nan")
    return RankComparison(ranks.mean(0), p, critical_difference(methods, cases, alpha), cases)


def critical_difference(methods: int, cases: int, alpha: float = ALPHA) -> float:
    """The difference of mean ranks from which on two of several methods differ, by Nemenyi's test."""
    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(methods * (methods + 1) / (6 * cases)))


def cliques(ranks: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """The largest groups of methods that do not differ.

    Args:
        ranks: mean ranks in rising order, (methods,).
        critical: the critical difference.

    Returns:
        The first and the last method of each group of at least two; none lies inside another.
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + critical, side="left")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
