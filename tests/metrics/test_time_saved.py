"""Minutes that contours save or cost."""

from __future__ import annotations

import math

import pytest
import torch

from flemme_monai.metrics import TimeSaved, minutes_of

ORGANS = ["large_bowel", "small_bowel", "stomach"]


def rows(*counts):
    """Masks (1, C, 1, 100) of the first pixels, as many as each count."""
    return torch.stack([(torch.arange(100) < count).float()[None] for count in counts])[None]


def measured(pred, label, **settings):
    metric = TimeSaved(settings.pop("class_names", ORGANS), include_background=True, **settings)
    return metric(rows(*pred), rows(*label))[0].tolist()


def test_an_organ_saves_its_minutes_from_its_threshold_and_costs_others_below():
    # a mask of n of the 100 labelled pixels has a Dice of 2 n / (n + 100)
    assert measured((67, 54, 74), (100, 100, 100)) == [5, 3, 2]  # 0.802, 0.701, 0.851
    assert measured((66, 53, 73), (100, 100, 100)) == [-2, -3, -4]  # 0.795, 0.693, 0.844


def test_a_dice_at_the_threshold_saves():
    assert measured((50,), (100,), class_names=["a"], table={"a": [2 / 3, 1, 1]}) == [1]


@pytest.mark.parametrize(("absent", "minutes"), [("ignore", math.nan), ("zero", 0.0), ("saved", 2.0)])
def test_an_organ_that_is_absent_and_not_predicted_counts_by_the_setting(absent, minutes):
    found = measured((100, 100, 0), (100, 100, 0), absent=absent)
    assert found[:2] == [5, 3]
    assert found[2] == pytest.approx(minutes, nan_ok=True)


@pytest.mark.parametrize("absent", ["ignore", "zero", "saved"])
def test_an_organ_that_is_absent_and_predicted_or_missed_costs(absent):
    assert measured((0, 0, 1), (100, 0, 0), absent=absent)[::2] == [-2, -4]


def test_empty_organs_are_no_time_saved_by_default():
    assert TimeSaved(ORGANS).absent == "ignore"
    assert measured((0, 0, 0), (0, 0, 0), total=True) == [0]


def test_the_total_is_the_sum_over_a_cases_organs():
    assert measured((100, 100, 0), (100, 0, 100), total=True) == [5 - 3 - 4]
    metric = TimeSaved(ORGANS, include_background=True, total=True)
    metric(rows(100, 100, 100), rows(100, 100, 100))
    metric(rows(0, 0, 0), rows(100, 100, 100))
    assert metric.aggregate().item() == pytest.approx((10 - 9) / 2)


def test_label_maps_have_a_background_without_minutes():
    metric = TimeSaved(["background", "nucleus"], {"nucleus": [0.5, 1, 2]})
    assert metric(rows(0, 100), rows(0, 100))[0].tolist() == [1]


def test_classes_that_the_table_does_not_name_count_for_nothing():
    assert measured((100, 0), (100, 100), class_names=["liver", "stomach"]) == pytest.approx(
        [math.nan, -4], nan_ok=True
    )
    assert measured((100, 0), (100, 100), class_names=["liver", "stomach"], total=True) == [-4]


def test_only_known_organs_have_minutes_by_default():
    assert list(minutes_of(ORGANS)) == ORGANS
    assert minutes_of(["nucleus"]) == {}
    assert minutes_of(None) == {}
    assert minutes_of(ORGANS, {}) == {}


@pytest.mark.parametrize(
    ("names", "table", "message"),
    [
        (ORGANS, {"liver": [0.8, 1, 1]}, "time_saved names the class 'liver'; expected one of large_bowel"),
        (ORGANS, {"stomach": [0.8, 1]}, r"time_saved of stomach is \[0.8, 1\]; expected \[threshold"),
        (ORGANS, {"stomach": [80, 1, 1]}, r"time_saved of stomach is \[80, 1, 1\]; expected a Dice from 0 to 1"),
        (ORGANS, {"stomach": [0.8, 1, -1]}, "expected a Dice from 0 to 1 and minutes from 0"),
        (["liver"], None, "no class of liver has minutes"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(names, table, message):
    with pytest.raises(ValueError, match=message):
        TimeSaved(names, table)


def test_other_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="absent is 'one'; expected one of ignore, zero, saved"):
        TimeSaved(ORGANS, absent="one")
    with pytest.raises(ValueError, match="there are 2 classes and 3 names"):
        measured((1, 1), (1, 1), class_names=ORGANS)
