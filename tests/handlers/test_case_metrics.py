"""An evaluation leaves its numbers case by case."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import (
    ConfusionMatrix,
    HausdorffDistance,
    IgniteMetricHandler,
    MeanAbsoluteError,
    MeanDice,
    MeanIoUHandler,
    PeakSignalToNoiseRatio,
    SurfaceDistance,
    from_engine,
)
from monai.metrics import SSIMMetric
from monai.transforms import AsDiscreted

from flemme_monai.handlers import SaveCaseMetrics
from flemme_monai.metrics import AbsentClassVolume, OverlapMetric, per_case

PAIR = from_engine(["pred", "label"])


class Shift(torch.nn.Module):
    """Predicts the labels as they stand in the image, moved by one voxel."""

    def forward(self, image):
        return torch.nn.functional.one_hot(image[:, 0].long().roll(1, -1), 3).movedim(-1, 1).float()


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def segmentation_items():
    items = []
    for i, classes in enumerate([(1, 2), (1, 2), (1,)]):
        label = torch.zeros(1, 24, 24)
        for c in classes:
            label[:, 2 + i : 12, 10 * c - 8 : 10 * c] = c
        items.append({"image": MetaTensor(label), "label": MetaTensor(label), "case": f"case_{i}"})
    return items


def evaluate(items, network, post, metrics, report):
    key = next(iter(metrics))
    evaluator = SupervisedEvaluator(
        "cpu",
        DataLoader(Dataset(items), batch_size=1, num_workers=0),
        network,
        postprocessing=post,
        key_val_metric={key: metrics.pop(key)},
        additional_metrics=metrics,
        val_handlers=[report],
    )
    evaluator.run()
    return evaluator


@pytest.fixture
def segmented(tmp_path):
    options = {"include_background": False, "output_transform": PAIR}
    metrics = {
        "dice": MeanDice(**options),
        "iou": MeanIoUHandler(**options),
        "recall": ConfusionMatrix(metric_name="recall", compute_sample=True, **options),
        "precision": ConfusionMatrix(metric_name="precision", compute_sample=True, **options),
        "surface_distance": SurfaceDistance(symmetric=True, **options),
        "hausdorff95": HausdorffDistance(percentile=95, **options),
    }
    report = SaveCaseMetrics(tmp_path, class_names=["background", "liver", "spleen"])
    post = AsDiscreted(["pred", "label"], argmax=(True, False), to_onehot=3)
    return evaluate(segmentation_items(), Shift(), post, metrics, report)


def test_cases_have_a_row_for_each_class_without_the_background(segmented, tmp_path):
    rows = read(tmp_path / "cases.csv")
    assert [(row["case"], row["class"]) for row in rows] == [
        (f"case_{i}", name) for i in range(3) for name in ("liver", "spleen")
    ]
    assert list(rows[0])[2:] == ["dice", "iou", "recall", "precision", "surface_distance", "hausdorff95"]
    liver = rows[0]
    assert float(liver["dice"]) == pytest.approx(7 / 8)
    assert float(liver["iou"]) == pytest.approx(7 / 9, abs=1e-5)
    assert float(liver["recall"]) == float(liver["precision"]) == pytest.approx(7 / 8)
    assert float(liver["hausdorff95"]) == 1


def test_a_class_that_is_absent_is_empty_and_left_out_of_the_summary(segmented, tmp_path):
    assert read(tmp_path / "cases.csv")[-1]["dice"] == ""
    summary = {(row["metric"], row["class"]): row for row in read(tmp_path / "summary.csv")}
    assert summary["dice", "liver"]["n"] == "3"
    assert summary["dice", "spleen"]["n"] == "2"
    assert summary["dice", "mean"]["n"] == "3"
    assert float(summary["dice", "mean"]["mean"]) == pytest.approx(segmented.state.metrics["dice"], abs=1e-5)
    assert ("dice", "background") not in summary


class Nothing(torch.nn.Module):
    """Predicts background everywhere."""

    def forward(self, image):
        return torch.nn.functional.one_hot(torch.zeros_like(image[:, 0]).long(), 3).movedim(-1, 1).float()


def test_a_prediction_without_a_class_has_no_distance_and_no_warning(tmp_path, recwarn):
    options = {"include_background": False, "output_transform": PAIR}
    metrics = {
        "dice": MeanDice(**options),
        "surface_distance": SurfaceDistance(symmetric=True, **options),
        "hausdorff95": HausdorffDistance(percentile=95, **options),
    }
    post = AsDiscreted(["pred", "label"], argmax=(True, False), to_onehot=3)
    evaluator = evaluate(segmentation_items(), Nothing(), post, metrics, SaveCaseMetrics(tmp_path))
    summary = {(row["metric"], row["class"]): row for row in read(tmp_path / "summary.csv")}
    assert summary["hausdorff95", "mean"]["n"] == summary["surface_distance", "mean"]["n"] == "0"
    assert np.isnan(evaluator.state.metrics["hausdorff95"])
    assert evaluator.state.metrics["dice"] == 0
    assert not [str(w.message) for w in recwarn if "all 0" in str(w.message) or "get_mask_edges" in str(w.message)]


def test_the_engines_metrics_are_the_summarys_means(segmented, tmp_path):
    means = {row["metric"]: row["mean"] for row in read(tmp_path / "summary.csv") if row["class"] == "mean"}
    assert {name: f"{value:.6g}" for name, value in segmented.state.metrics.items()} == means


def test_the_summary_has_mean_and_deviation_over_cases(segmented, tmp_path):
    rows = read(tmp_path / "cases.csv")
    values = np.array([float(row["hausdorff95"]) for row in rows if row["class"] == "liver"])
    summary = next(r for r in read(tmp_path / "summary.csv") if (r["metric"], r["class"]) == ("hausdorff95", "liver"))
    assert float(summary["mean"]) == pytest.approx(values.mean(), rel=1e-5)
    assert float(summary["std"]) == pytest.approx(values.std(), rel=1e-5, abs=1e-9)


def test_slices_of_a_reconstruction_stay_distinct(tmp_path):
    items = [
        {"image": torch.rand(1, 24, 24), "label": torch.rand(1, 24, 24), "case": "brain", "slice": i} for i in (7, 8)
    ]
    metrics = {
        "psnr": PeakSignalToNoiseRatio(max_val=1.0, output_transform=PAIR),
        "ssim": IgniteMetricHandler(SSIMMetric(spatial_dims=2), output_transform=PAIR),
        "mae": MeanAbsoluteError(output_transform=PAIR),
    }
    evaluate(items, torch.nn.Identity(), None, metrics, SaveCaseMetrics(tmp_path))
    rows = read(tmp_path / "cases.csv")
    assert [(row["case"], row["class"]) for row in rows] == [("brain_007", "all"), ("brain_008", "all")]
    assert all(float(row[name]) for row in rows for name in ("psnr", "ssim", "mae"))


def test_names_that_do_not_fit_the_classes_are_refused(tmp_path):
    report = SaveCaseMetrics(tmp_path, class_names=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="do not fit the 2 columns of dice"):
        report._columns("dice", 2)
    assert report._columns("dice", 4) == ["a", "b", "c", "d"]
    assert report._columns("dice", 3) == ["b", "c", "d"]  # without the background


def test_metrics_of_a_confusion_matrix_are_named_as_files_name_them():
    matrix = torch.tensor([[[3.0, 1.0, 5.0, 1.0]]])  # tp, fp, tn, fn of one case and class
    assert per_case("true_negative_rate", matrix).tolist() == [[pytest.approx(5 / 6)]]
    assert per_case("val_recall", matrix).tolist() == [[0.75]]


def test_a_metric_without_details_is_named(tmp_path):
    metrics = {"mae": MeanAbsoluteError(output_transform=PAIR, save_details=False)}
    items = [{"image": torch.rand(1, 8, 8), "label": torch.rand(1, 8, 8), "case": "a"}]
    with pytest.raises(ValueError, match=r"no details of the metrics \['mae'\]"):
        evaluate(items, torch.nn.Identity(), None, metrics, SaveCaseMetrics(tmp_path, metrics=["mae"]))


@pytest.mark.parametrize(
    ("empty_class", "mean", "n"), [("zero_one", 1 / 2, 4), ("one", 2 / 3, 3), ("ignore", 1 / 2, 2)]
)
def test_what_is_found_of_an_absent_class_is_seen(tmp_path, empty_class, mean, n):
    """Four cases, of class 1: perfect, found though absent (120 voxels of 6 mm³), rightly not found, missed."""
    pairs = [((0, 5), (0, 5)), ((0, 5), (0, 0)), ((0, 0), (0, 0)), ((0, 0), (0, 5))]
    items = []
    for i, ends in enumerate(pairs):
        maps = [torch.zeros(1, 6, 6, 4) for _ in ends]
        for labels, (first, last) in zip(maps, ends):
            labels[:, first:last] = 1
        image, label = (MetaTensor(m, affine=torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0]))) for m in maps)
        items.append({"image": image, "label": label, "case": f"case_{i}"})

    class Known(torch.nn.Module):
        def forward(self, image):
            return torch.nn.functional.one_hot(image[:, 0].long(), 2).movedim(-1, 1).float()

    metrics = {
        "dice": IgniteMetricHandler(OverlapMetric("dice", empty_class), output_transform=PAIR),
        "precision": ConfusionMatrix(
            metric_name="precision", compute_sample=True, include_background=False, output_transform=PAIR
        ),
        "recall": ConfusionMatrix(
            metric_name="recall", compute_sample=True, include_background=False, output_transform=PAIR
        ),
        "absent_class_voxels": IgniteMetricHandler(AbsentClassVolume("voxels"), output_transform=PAIR),
        "absent_class_mm3": IgniteMetricHandler(AbsentClassVolume("mm3"), output_transform=PAIR),
    }
    post = AsDiscreted(["pred", "label"], argmax=(True, False), to_onehot=2)
    evaluator = evaluate(items, Known(), post, metrics, SaveCaseMetrics(tmp_path))
    summary = {row["metric"]: row for row in read(tmp_path / "summary.csv")}
    assert float(summary["dice"]["mean"]) == pytest.approx(mean, abs=1e-5)
    assert evaluator.state.metrics["dice"] == pytest.approx(mean)
    assert int(summary["dice"]["n"]) == n
    assert (summary["absent_class_voxels"]["mean"], summary["absent_class_voxels"]["n"]) == ("60", "2")
    assert (summary["absent_class_mm3"]["mean"], summary["absent_class_mm3"]["n"]) == ("360", "2")
    cases = read(tmp_path / "cases.csv")
    assert [row["absent_class_mm3"] for row in cases] == ["", "720", "0", ""]
    assert [row["precision"] for row in cases] == ["1", "0", "", ""]
    assert [row["recall"] for row in cases] == ["1", "", "", "0"]
