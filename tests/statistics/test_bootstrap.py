"""Intervals over trainings and cases."""

import numpy as np
import pytest

from flemme_monai.statistics import hierarchical_interval


def test_equal_values_have_no_spread():
    assert hierarchical_interval(np.full((3, 5), 0.25)) == pytest.approx((0.25, 0.25, 0.25))


def test_one_training_gives_the_interval_of_its_cases():
    cases = np.random.default_rng(0).normal(0, 1, (1, 100))
    found = hierarchical_interval(cases, resamples=4000)
    expected = 1.96 * cases.std() / 10
    assert found.mean == pytest.approx(cases.mean())
    assert found.high - found.mean == pytest.approx(expected, rel=0.1)
    assert found.mean - found.low == pytest.approx(expected, rel=0.1)


def test_trainings_that_differ_widen_it():
    cases = np.random.default_rng(0).normal(0, 0.1, (1, 100))
    alike = hierarchical_interval(np.repeat(cases, 3, 0))
    apart = hierarchical_interval(np.repeat(cases, 3, 0) + np.array([[-1.0], [0.0], [1.0]]))
    assert apart.high - apart.low > 10 * (alike.high - alike.low)


def test_cases_are_the_same_for_all_trainings():
    # a case is hard for every training: the spread of its difficulty does not average out over trainings
    cases = np.random.default_rng(0).normal(0, 1, (1, 50))
    one, many = hierarchical_interval(cases), hierarchical_interval(np.repeat(cases, 20, 0))
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.15)


def test_draws_repeat_for_a_seed():
    values = np.random.default_rng(0).normal(size=(3, 10))
    assert hierarchical_interval(values, seed=1) == hierarchical_interval(values, seed=1)


def test_cases_without_a_value_are_left_out():
    values = np.array([[1.0, np.nan, 3.0] * 20])
    assert hierarchical_interval(values).mean == 2.0


def test_no_values_are_refused():
    with pytest.raises(ValueError, match=r"shape \(0, 3\); expected \(trainings, cases\)"):
        hierarchical_interval(np.empty((0, 3)))
