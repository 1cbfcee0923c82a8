"""How many pairs of trainings show a difference, when they differ as those that were seen."""

from __future__ import annotations

import math

from scipy import stats

ALPHA, POWER = 0.05, 0.8
MOST_PAIRS = 1000


def power_of_pairs(effect: float, pairs: int, alpha: float = ALPHA) -> float:
    """The chance that a two-sided paired t-test finds a difference.

    Args:
        effect: the mean difference over the deviation of the differences.
        pairs: how many, at least two.
        alpha: the test's level.
    """
    freedom, shift = pairs - 1, effect * math.sqrt(pairs)
    bound = stats.t.ppf(1 - alpha / 2, freedom)
    return float(stats.nct.sf(bound, freedom, shift) + stats.nct.cdf(-bound, freedom, shift))


def pairs_needed(effect: float, power: float = POWER, alpha: float = ALPHA, most: int = MOST_PAIRS) -> int | None:
    """The fewest pairs with which a paired t-test finds a difference with some chance.

    Args:
        effect: as of :func:`power_of_pairs`.
        power: the chance.
        alpha: the test's level.
        most: how many are tried.

    Returns:
        The number; None where ``most`` do not do, or the effect is not known.
    """
    if not math.isfinite(effect) or effect == 0:
        return None
    normal = (stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / effect  # a t-test needs some more
    fewest = max(2, math.floor(normal**2))
    return next(
        (pairs for pairs in range(fewest, most + 1) if power_of_pairs(abs(effect), pairs, alpha) >= power), None
    )
