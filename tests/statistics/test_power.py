"""How many trainings show a difference."""

import numpy as np
import pytest

from flemme_monai.statistics import pairs_needed, power_of_pairs


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_tables_of_cohen(effect, pairs):
    # Cohen's small, medium and large effects at 5% and 80%, as G*Power gives them for paired t-tests
    assert pairs_needed(effect) == pairs
    assert power_of_pairs(effect, pairs) >= 0.8 > power_of_pairs(effect, pairs - 1)


def test_no_effect_is_found_at_the_level():
    assert power_of_pairs(0.0, 10) == pytest.approx(0.05)


def test_drawn_pairs_are_found_as_often():
    values = np.random.default_rng(0).normal(1.0, 1.0, (2000, 8))
    t = values.mean(1) / (values.std(1, ddof=1) / 8**0.5)
    assert (np.abs(t) > 2.3646).mean() == pytest.approx(power_of_pairs(1.0, 8), abs=0.03)


def test_the_sign_of_an_effect_does_not_matter():
    assert pairs_needed(-0.5) == pairs_needed(0.5)


def test_what_no_number_shows_is_none():
    assert pairs_needed(0.0) is None
    assert pairs_needed(float("nan")) is None
    assert pairs_needed(0.001) is None
