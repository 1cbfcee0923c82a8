"""Ranks of several methods, and the difference from which on they differ (Demsar 2006)."""

import numpy as np
import pytest

from flemme_monai.statistics import cliques, compare_ranks, critical_difference


def test_ranks_are_means_over_cases_and_ties_share_theirs():
    values = np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.8], [0.6, 0.8, 0.7], [0.9, 0.8, 0.7]])
    found = compare_ranks(values)
    assert found.ranks == pytest.approx([6 / 4, 7.5 / 4, 10.5 / 4])
    # Friedman's statistic with its correction for ties: two degrees of freedom make p = exp(-statistic / 2)
    statistic = 12 / (4 * 3 * 4) * (6**2 + 7.5**2 + 10.5**2) - 3 * 4 * 4
    assert found.p == pytest.approx(np.exp(-statistic / (1 - 6 / (4 * 24)) / 2))
    assert found.cases == 4


def test_the_critical_difference_is_demsar_s():
    # four classifiers on 14 data sets, section 3.2.2
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, alpha=0.1) == pytest.approx(1.12, abs=0.005)


def test_of_a_distance_the_smallest_is_the_best():
    assert compare_ranks(np.array([[1.0, 2.0, 3.0]] * 4), higher_is_better=False).ranks.tolist() == [1, 2, 3]


def test_two_methods_have_the_normal_quantile():
    assert critical_difference(2, 1) == pytest.approx(1.959964)


def test_cases_that_lack_a_value_are_left_out():
    values = np.array([[1.0, 2.0], [np.nan, 0.0], [1.0, 2.0]])
    found = compare_ranks(values)
    assert found.cases == 2
    assert found.ranks.tolist() == [2, 1]
    assert np.isnan(found.p)


def test_equal_methods_have_no_test():
    assert np.isnan(compare_ranks(np.ones((5, 3))).p)


def test_groups_hold_what_does_not_differ():
    ranks = np.array([1.0, 1.5, 2.4, 4.0])
    assert cliques(ranks, 1.0) == [(0, 1), (1, 2)]
    assert cliques(ranks, 2.0) == [(0, 2), (2, 3)]
    assert cliques(ranks, 0.1) == []
    assert cliques(ranks, 10.0) == [(0, 3)]


def test_one_method_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 1\); expected \(cases, methods\)"):
        compare_ranks(np.ones((3, 1)))
