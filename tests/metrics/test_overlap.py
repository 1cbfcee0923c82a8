"""What a class counts that a case does not have."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import DiceMetric, MeanIoU
from monai.networks import one_hot

from flemme_monai.metrics import AbsentClassVolume, OverlapMetric


def square(first, last, class_index=1):
    """A label map (1, 8, 8) with rows [first, last) of a class."""
    labels = torch.zeros(1, 8, 8)
    labels[:, first:last] = class_index
    return labels


def measured(metric, pairs, num_classes=2):
    """The values (N, C) and the aggregate of a metric on pairs of predicted and true label maps."""
    predicted, labels = ([one_hot(item, num_classes, dim=0) for item in items] for items in zip(*pairs))
    metric(predicted, labels)
    return metric.get_buffer(), metric.aggregate().item()


PERFECT = (square(2, 6), square(2, 6))
FOUND_IN_NOTHING = (square(0, 8), square(0, 0))
NOTHING_IN_NOTHING = (square(0, 0), square(0, 0))
MISSED = (square(0, 0), square(2, 6))


@pytest.mark.parametrize("score", ["dice", "iou"])
@pytest.mark.parametrize(
    ("empty_class", "values", "mean"),
    [
        ("ignore", [1, math.nan, math.nan, 0], 1 / 2),
        ("one", [1, math.nan, 1, 0], 2 / 3),
        ("zero_one", [1, 0, 1, 0], 1 / 2),
    ],
)
def test_an_absent_class_counts_as_the_choice_says(score, empty_class, values, mean):
    pairs = [PERFECT, FOUND_IN_NOTHING, NOTHING_IN_NOTHING, MISSED]
    found, aggregate = measured(OverlapMetric(score, empty_class), pairs)
    torch.testing.assert_close(found.flatten(), torch.tensor(values, dtype=found.dtype), equal_nan=True)
    assert aggregate == pytest.approx(mean)


@pytest.mark.parametrize(("empty_class", "mean"), [("ignore", 1.0), ("one", 1.0), ("zero_one", 0.5)])
def test_an_organ_that_is_absent_and_predicted_everywhere_costs(empty_class, mean):
    assert measured(OverlapMetric(empty_class=empty_class), [PERFECT, FOUND_IN_NOTHING])[1] == pytest.approx(mean)


def test_zero_one_is_the_default():
    assert measured(OverlapMetric(), [PERFECT, FOUND_IN_NOTHING])[1] == pytest.approx(0.5)


@pytest.mark.parametrize(("score", "theirs"), [("dice", DiceMetric), ("iou", MeanIoU)])
def test_present_classes_have_monai_s_values(score, theirs):
    torch.manual_seed(0)
    pairs = [(torch.randint(0, 3, (1, 8, 8)).float(), torch.randint(0, 3, (1, 8, 8)).float()) for _ in range(4)]
    metric = theirs(include_background=False)
    metric(*([one_hot(item, 3, dim=0) for item in items] for items in zip(*pairs)))
    for empty_class in ("ignore", "one", "zero_one"):
        found, mean = measured(OverlapMetric(score, empty_class), pairs, 3)
        torch.testing.assert_close(found, metric.get_buffer())
        assert mean == pytest.approx(metric.aggregate().item())


@pytest.mark.parametrize("score", ["dice", "iou"])
def test_label_maps_of_a_batch_count_as_one_hot_ones_do(score):
    pairs = [PERFECT, FOUND_IN_NOTHING, (square(1, 6, 2), square(2, 6, 1))]
    metric = OverlapMetric(score, num_classes=3)
    metric(*(torch.stack(items) for items in zip(*pairs)))
    torch.testing.assert_close(metric.get_buffer(), measured(OverlapMetric(score), pairs, 3)[0])


def test_the_mean_is_over_the_classes_of_a_case_first():
    both = (square(2, 6, 1) + square(6, 8, 2), square(2, 6, 1) + square(6, 8, 2))
    half = (square(2, 6), square(4, 8))
    values, mean = measured(OverlapMetric(empty_class="ignore"), [both, half], 3)
    torch.testing.assert_close(values, torch.tensor([[1.0, 1.0], [0.5, math.nan]]), equal_nan=True)
    assert mean == pytest.approx(0.75)  # not 2.5 / 3


def test_nothing_to_measure_is_not_a_value():
    assert math.isnan(measured(OverlapMetric(empty_class="ignore"), [FOUND_IN_NOTHING])[1])


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="empty_class is 'none'; expected one of ignore, one, zero_one"):
        OverlapMetric(empty_class="none")
    with pytest.raises(ValueError, match="score is 'Dice'; expected one of dice, iou"):
        OverlapMetric("Dice")
    with pytest.raises(ValueError, match="unit is 'ml'; expected one of voxels, mm3"):
        AbsentClassVolume("ml")


def volume(labels, affine=None):
    """One-hot labels (2, 4, 4, 4) with an affine, of a number of voxels."""
    flat = torch.zeros(64)
    flat[:labels] = 1
    onehot = one_hot(flat.view(1, 4, 4, 4), 2, dim=0)
    return onehot if affine is None else MetaTensor(onehot, affine=affine)


def test_the_volume_of_an_absent_class_is_in_mm3_of_the_affine():
    turned = torch.tensor([[0.0, 2.0, 0.0, 5.0], [-1.5, 0.0, 0.0, 7.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    predicted, labels = [volume(10), volume(10), volume(0)], [volume(0, turned), volume(3, turned), volume(0, turned)]
    for unit, expected in (("voxels", [10, math.nan, 0]), ("mm3", [90, math.nan, 0])):
        metric = AbsentClassVolume(unit)
        metric(predicted, labels)
        torch.testing.assert_close(
            metric.get_buffer().flatten(), torch.tensor(expected, dtype=torch.float), equal_nan=True
        )
        assert metric.aggregate().item() == pytest.approx(expected[0] / 2)


def test_a_batch_of_volumes_has_one_affine_each():
    affines = torch.stack([torch.eye(4), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))])
    labels = torch.stack([volume(0), volume(0)])
    metric = AbsentClassVolume("mm3")
    metric(torch.stack([volume(3), volume(3)]), MetaTensor(labels, affine=affines))
    assert metric.get_buffer().flatten().tolist() == [3, 24]


def test_a_picture_has_pixels_and_no_mm3():
    for unit, expected in (("voxels", 64), ("mm3", math.nan)):
        values, _ = measured(AbsentClassVolume(unit), [FOUND_IN_NOTHING])
        assert values.item() == pytest.approx(expected, nan_ok=True)
