"""What the results of a comparison are said to mean."""

import numpy as np
import pytest

from flemme_monai.comparison.analysis import ALL, contrasts, convergence, differences, named, ranks, summary
from flemme_monai.statistics import pairs_needed


def test_means_and_deviations_are_over_seeds(made_results):
    results = made_results({"sem_unet": [[0.7, 0.8], [0.8, 0.9], [0.9, 1.0]]})
    (row,) = summary(results)
    assert row["dice"] == pytest.approx(0.85)
    assert row["dice deviation"] == pytest.approx(0.1)
    assert row["seeds"] == 3
    assert row["step ms"] == 10


def test_one_seed_has_no_deviation(made_results):
    (row,) = summary(made_results({"sem_unet": [[0.7, 0.8]]}))
    assert row["dice"] == pytest.approx(0.75)
    assert row["dice deviation"] is None


def test_folds_are_averaged_before_seeds(made_results):
    # the folds of a seed reach 0.5 and 0.7, those of the other 0.6 and 0.8
    (row,) = summary(made_results({"sem_unet": [[0.5, 0.7], [0.6, 0.8]]}, folds=2))
    assert row["dice"] == pytest.approx(0.65)
    assert row["dice deviation"] == pytest.approx(np.std([0.6, 0.7], ddof=1))
    assert (row["seeds"], row["folds"]) == (2, 2)


def test_the_folds_of_one_seed_have_a_deviation(made_results):
    (row,) = summary(made_results({"sem_unet": [[0.5, 0.7]]}, folds=2))
    assert row["dice deviation"] == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_hierarchical_bundles_are_compared_with_the_plain_ones_of_their_encoder(hierarchical_wins):
    found = contrasts(hierarchical_wins, "", None)
    assert found == [(e, f"hsem_{e}", f"sem_{e}") for e in ("unet", "swinu", "vmambau")]
    found = contrasts(hierarchical_wins, "", "sem_unet")
    assert [one for _, one, _ in found] == ["hsem_unet", "sem_swinu", "hsem_swinu", "sem_vmambau", "hsem_vmambau"]
    assert {other for *_, other in found} == {"sem_unet"}


def test_without_hierarchical_ones_all_are_compared_with_the_best(made_results):
    results = made_results({"sem_a": [[0.5]], "sem_b": [[0.9]], "sem_c": [[0.7]]})
    assert contrasts(results, "", None) == [("sem_a", "sem_a", "sem_b"), ("sem_c", "sem_c", "sem_b")]


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_said_to_be_not_significant(hierarchical_wins):
    rows = {row.label: row for row in differences(hierarchical_wins, "", "dice")}
    assert rows["unet"].significant
    assert rows["unet"].verdict == "better"
    assert rows["unet"].found.interval.mean == pytest.approx(0.04, abs=0.005)
    assert rows["unet"].relative == pytest.approx(100 * rows["unet"].found.interval.mean / 0.8, rel=0.05)
    assert not rows["swinu"].significant
    assert rows["swinu"].verdict.startswith("not significant")
    assert rows["swinu"].verdict.endswith("with 80% power")


def test_p_values_are_adjusted_over_the_encoders_of_a_metric(hierarchical_wins):
    rows = [row for row in differences(hierarchical_wins, "", "dice") if row.label != ALL]
    smallest = min(rows, key=lambda row: row.found.p)
    assert smallest.p == pytest.approx(3 * smallest.found.p)


def test_a_smaller_distance_is_better(hierarchical_wins):
    rows = {row.label: row for row in differences(hierarchical_wins, "", "surface_distance")}
    assert rows["unet"].found.interval.mean < 0
    assert rows["unet"].verdict == "better"


def test_the_mean_over_encoders_averages_their_relative_gains(hierarchical_wins):
    *rows, mean = differences(hierarchical_wins, "", "dice")
    assert mean.label == ALL
    assert mean.relative == pytest.approx(np.mean([row.relative for row in rows]))
    assert mean.found.interval.mean == pytest.approx(np.mean([row.found.interval.mean for row in rows]))
    assert np.isnan(mean.p)
    assert mean.significant


def test_one_training_says_nothing_of_other_seeds(made_results):
    cases = np.linspace(0.6, 0.9, 20)
    (row,) = differences(made_results({"sem_unet": [cases], "hsem_unet": [cases + 0.05]}), "", "dice")
    assert row.verdict == "better (one training: of other seeds it says nothing)"
    alternating = cases + 0.01 * (-1) ** np.arange(20)
    (row,) = differences(made_results({"sem_unet": [cases], "hsem_unet": [alternating]}), "", "dice")
    assert row.verdict == "not significant; one training does not say how many would show it"


def test_the_trainings_that_would_show_a_difference_are_those_of_its_power(made_results):
    # differences 0.01 and 0.03 of two seeds: their mean over their deviation is sqrt(2)
    cases = np.linspace(0.6, 0.9, 20)
    noise = 0.2 * (-1) ** np.arange(20)
    plain = np.stack([cases, cases])
    results = made_results({"sem_unet": plain, "hsem_unet": plain + noise + np.array([[0.01], [0.03]])})
    (row,) = differences(results, "", "dice")
    assert row.needed == pairs_needed(2**0.5) == 7
    assert row.verdict == "not significant; 7 pairs of trainings would show it with 80% power"


def test_a_difference_of_these_trainings_that_others_may_not_have_is_said_to_be_one(made_results):
    cases = np.linspace(0.6, 0.9, 20)
    gains = np.array([[-0.01], [0.03]])
    results = made_results({"sem_unet": np.stack([cases, cases]), "hsem_unet": cases + gains})
    (row,) = differences(results, "", "dice")
    assert row.p < 0.001
    assert row.verdict.startswith("not significant over trainings (over cases it is); ")


def test_a_distance_to_what_was_not_found_is_left_out(made_results):
    results = made_results({"sem_unet": [[0.5, 0.6, 0.7]], "hsem_unet": [[0.6, 0.7, 0.8]]})
    results.cases[0]["surface_distance"] = float("inf")
    (row,) = differences(results, "", "surface_distance")
    assert row.found.interval.mean == pytest.approx(-0.1)
    assert row.values == pytest.approx((0.25, 0.35))


def test_seeds_that_only_one_has_are_left_out(made_results):
    one, other = made_results({"sem_unet": [[0.5, 0.6]] * 3}), made_results({"hsem_unet": [[0.7, 0.8]]})
    for name in ("runs", "cases", "curves", "costs"):
        getattr(one, name).extend(getattr(other, name))
    one.about["hierarchical"] = ["hsem_unet"]
    (row,) = differences(one, "", "dice")
    assert row.trainings == 1
    assert row.found.interval.mean == pytest.approx(0.2)


def test_ranks_are_of_cases(hierarchical_wins):
    names, found = ranks(hierarchical_wins, "", "dice")
    assert names[0] == "hsem_unet"
    assert found.cases == 40
    assert (np.diff(found.ranks) >= 0).all()
    assert ranks(hierarchical_wins, "", "surface_distance")[0][0] == "hsem_unet"


def test_what_a_training_gained_at_its_end_is_a_share_of_its_best(made_results):
    results = made_results({"sem_unet": [[0.5, 0.5]]})
    assert convergence(results, "", "sem_unet") == pytest.approx((0.5**8 - 0.5**10) / (1 - 0.5**10))
    assert convergence(made_results({"sem_unet": [[0.5]]}, epochs=1), "", "sem_unet") is None


def test_a_baseline_that_is_not_compared_is_refused():
    assert named(["sem_unet"], None) is None
    with pytest.raises(ValueError, match=r"the baseline 'x' is not compared; expected one of sem_unet"):
        named(["sem_unet"], "x")
