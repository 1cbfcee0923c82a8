"""Tests of paired differences against closed forms and published examples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from flemme_monai.statistics import cohens_d, holm, paired_difference, permutation_p, rank_biserial, wilcoxon_p


def test_all_signs_are_tried_where_there_are_few():
    values = np.array([1.0, 2.0, -0.5, 3.0, 4.0, 0.25])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values))))
    means = (signs * values).mean(1)
    assert permutation_p(values) == pytest.approx((np.abs(means) >= abs(values.mean()) - 1e-12).mean())


def test_differences_of_one_sign_have_the_smallest_p():
    assert permutation_p(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)
    assert wilcoxon_p(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)
    assert wilcoxon_p(np.zeros(5)) == 1.0


def test_of_many_cases_signs_are_drawn_and_repeat():
    values = np.random.default_rng(0).normal(0.3, 1, 60)
    assert permutation_p(values) == permutation_p(values)
    assert permutation_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_chance_is_found_as_often_as_the_level_says():
    random = np.random.default_rng(0)
    found = [permutation_p(random.normal(size=10)) < 0.05 for _ in range(200)]
    assert 0.02 <= np.mean(found) <= 0.09


def test_holm_steps_down():
    # 4 x 0.01, then 3 x 0.013 which may not be smaller, then 2 x 0.02, then the largest itself
    assert holm([0.04, 0.01, 0.02, 0.013]) == pytest.approx([0.04, 0.04, 0.04, 0.04])
    assert holm([0.001, 0.4, 0.03]) == pytest.approx([0.003, 0.4, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_leaves_out_what_was_not_tested():
    assert holm([float("nan"), 0.02, 0.03]) == pytest.approx([float("nan"), 0.04, 0.04], nan_ok=True)


def test_effect_sizes():
    assert cohens_d(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert np.isnan(cohens_d(np.array([1.0, 1.0])))
    assert np.isnan(cohens_d(np.array([1.0])))
    assert rank_biserial(np.array([1.0, 2.0, 3.0])) == 1.0
    assert rank_biserial(np.array([-3.0, 1.0, 2.0])) == pytest.approx((1 + 2 - 3) / 6)
    assert rank_biserial(np.array([0.0, 0.0])) == 0.0


def test_a_difference_has_its_interval_test_effect_and_trainings():
    random = np.random.default_rng(0)
    plain = random.normal(0.8, 0.05, (3, 40))
    better = plain + np.array([[0.02], [0.03], [0.04]]) + random.normal(0, 0.01, (3, 40))
    found = paired_difference(better, plain)
    assert found.interval.mean == pytest.approx(0.03, abs=0.002)
    assert found.interval.low > 0
    assert found.p < 0.001
    assert found.effect > 2
    assert found.rank_biserial == 1.0
    assert found.of_trainings == pytest.approx([0.02, 0.03, 0.04], abs=0.005)


def test_the_test_is_over_cases_and_not_over_trainings_of_a_case():
    # ten trainings of four cases are four cases: the smallest p of four signs is 2 / 16
    assert paired_difference(np.ones((10, 4)), np.zeros((10, 4))).p == pytest.approx(2 / 16)


def test_cases_without_a_value_are_left_out():
    one = np.array([[1.0, 2.0, np.nan]])
    assert paired_difference(one, np.zeros((1, 3))).interval.mean == pytest.approx(1.5)
    assert np.isnan(paired_difference(np.ones((2, 1)), np.zeros((2, 1))).p)


def test_other_cases_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 4\); expected the same"):
        paired_difference(np.ones((2, 3)), np.ones((2, 4)))
