"""Seconds of cases, files of what a network sees and gives, summaries of sub-folders."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine

from flemme_monai.handlers import SaveCaseMetrics, SaveOutputs, SaveSeconds
from flemme_monai.metrics import OverlapMetric


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def evaluator(cases: list[str], *handlers, **more) -> SupervisedEvaluator:
    """An evaluator whose network gives its image, of one class per pixel, as a segmentation."""
    items = [
        {"image": MetaTensor(torch.eye(2)[None] + i), "label": torch.ones(1, 2, 2), "case": case}
        for i, case in enumerate(cases)
    ]
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=1),
        network=torch.nn.Identity(),
        val_handlers=list(handlers),
        **more,
    )


def test_seconds_are_those_of_the_network(tmp_path: Path) -> None:
    handler = SaveSeconds(tmp_path)
    engine = evaluator(["a", "b", "c"], handler)
    engine.run()
    found = rows(tmp_path / "seconds.csv")
    assert [row["case"] for row in found] == ["a", "b", "c"]
    assert all(0 <= float(row["seconds"]) < 5 for row in found)
    engine.run()
    assert len(rows(tmp_path / "seconds.csv")) == 3  # of the last run alone


def test_outputs_are_written_as_the_network_has_them(tmp_path: Path) -> None:
    engine = evaluator(["x/a", "y/a"], SaveOutputs(tmp_path, ["input", "target", "logits"]))
    engine.run()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4  # there are no logits
    inputs = [name for name in names if name.endswith("_input.nii.gz")]
    values = np.squeeze(nibabel.load(tmp_path / inputs[1]).get_fdata())
    np.testing.assert_array_equal(values, np.eye(2) + 1)
    with pytest.raises(ValueError, match="save_outputs has 'latents'"):
        SaveOutputs(tmp_path, ["latents"])


def test_nothing_asked_for_writes_nothing(tmp_path: Path) -> None:
    evaluator(["a"], SaveOutputs(tmp_path / "out")).run()
    assert not (tmp_path / "out").exists()


def test_each_sub_folder_has_a_summary(tmp_path: Path) -> None:
    metric = IgniteMetricHandler(
        metric_fn=OverlapMetric(include_background=True), output_transform=from_engine(["pred", "label"])
    )
    cases = ["bright/a", "bright/b", "dark/c"]
    engine = evaluator(cases, SaveCaseMetrics(tmp_path), key_val_metric={"dice": metric})
    engine.add_event_handler(Events.STARTED, lambda: None)
    engine.run()
    found = rows(tmp_path / "folders.csv")
    assert [(row["folder"], row["n"]) for row in found] == [("bright", "2"), ("dark", "1")]
    each = [float(row["dice"]) for row in rows(tmp_path / "cases.csv")]
    assert float(found[0]["mean"]) == pytest.approx((each[0] + each[1]) / 2, abs=1e-5)
    evaluator(["a", "b"], SaveCaseMetrics(tmp_path / "flat"), key_val_metric={"dice": metric}).run()
    assert not (tmp_path / "flat" / "folders.csv").exists()
