"""Two conditions on the same cases: whether their difference is more than chance, and how large it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .bootstrap import Interval, hierarchical_interval

RESAMPLES = 9999  # of signs, where not all combinations of them are tried


class PairedDifference(NamedTuple):
    """What the trainings of two conditions say of their difference.

    Attributes:
        interval: the mean difference and its bounds over trainings and cases.
        p: of a test over cases, each the mean over its trainings; NaN with fewer than two cases.
        effect: Cohen's d over cases.
        rank_biserial: the matched-pairs rank-biserial correlation over cases, from -1 to 1.
        of_trainings: the mean difference of each training, (trainings,).
    """

    interval: Interval
    p: float
    effect: float
    rank_biserial: float
    of_trainings: np.ndarray


def paired_difference(
    one: np.ndarray, other: np.ndarray, test: str = "permutation", resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Compare two conditions.

    Args:
        one, other: (trainings, cases) of the same seeds and cases; NaN where a case has no value, which leaves it out.
        test: key of ``TESTS``.
        resamples: of the bootstrap.
        seed: of what is random.

    Raises:
        ValueError: If the shapes differ, or there is no value.
    """
    if np.shape(one) != np.shape(other):
        raise ValueError(
            f"values have the shapes {np.shape(one)} and {np.shape(other)}; expected the same trainings and cases of "
            "both: leave out what only one has"
        )
    differences = np.asarray(one, float) - np.asarray(other, float)
    interval = hierarchical_interval(differences, resamples, seed=seed)
    cases = _means(differences, 0)
    cases = cases[np.isfinite(cases)]
    p = TESTS[test](cases, seed) if len(cases) > 1 else np.nan
    return PairedDifference(interval, p, cohens_d(cases), rank_biserial(cases), _means(differences, 1))


def _means(values: np.ndarray, axis: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a case, or a training, without values
        return np.nanmean(values, axis)


def permutation_p(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a mean difference when each case's sign is as likely to be the other (Fisher 1935).

    Args:
        differences: (cases,).
        seed: of the signs, where there are more combinations than are tried.
    """
    values = np.asarray(differences, float)
    found = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        random_state=seed,
    )
    return float(found.pvalue)


def wilcoxon_p(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945); 1 where all differences are 0.

    Args:
        differences: (cases,).
        seed: not used, nothing is random.
    """
    values = np.asarray(differences, float)
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


TESTS: dict[str, Callable[[np.ndarray, int], float]] = {"permutation": permutation_p, "wilcoxon": wilcoxon_p}


def cohens_d(differences: np.ndarray) -> float:
    """The mean of paired differences over their deviation, Cohen's d_z; NaN of fewer than two or of equal ones."""
    values = np.asarray(differences, float)
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / deviation) if deviation > 0 else float("nan")


def rank_biserial(differences: np.ndarray) -> float:
    """The share of ranks of positive differences less that of negative ones (Kerby 2014); 0 where all are 0."""
    values = np.asarray(differences, float)
    values = values[values != 0]
    if not len(values):
        return 0.0
    ranks = stats.rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """p of several tests, so adjusted that the chance of any false finding stays below the level (Holm 1979).

    scipy has the corrections of Benjamini, Hochberg and Yekutieli alone, which bound the share of false findings.

    Args:
        p_values: of the tests; NaN stays NaN and is not counted.
    """
    values = np.asarray(p_values, float)
    order = [i for i in np.argsort(values) if np.isfinite(values[i])]
    adjusted, highest = np.full(len(values), np.nan), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * values[i]))
        adjusted[i] = highest
    return adjusted.tolist()
