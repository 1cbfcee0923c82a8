"""What repeated trainings say of a difference: intervals, tests, effect sizes, power, ranks.

scipy has the tests and their distributions; here is what it lacks: a bootstrap over trainings and cases, Holm's
correction, the number of trainings that a difference needs, and the critical difference of ranks.
"""

from .bootstrap import LEVEL, Interval, hierarchical_interval
from .paired import TESTS, PairedDifference, cohens_d, holm, paired_difference, permutation_p, rank_biserial, wilcoxon_p
from .power import pairs_needed, power_of_pairs
from .ranks import RankComparison, cliques, compare_ranks, critical_difference

__all__ = [
    "LEVEL",
    "TESTS",
    "Interval",
    "PairedDifference",
    "RankComparison",
    "cliques",
    "cohens_d",
    "compare_ranks",
    "critical_difference",
    "hierarchical_interval",
    "holm",
    "paired_difference",
    "pairs_needed",
    "permutation_p",
    "power_of_pairs",
    "rank_biserial",
    "wilcoxon_p",
]
