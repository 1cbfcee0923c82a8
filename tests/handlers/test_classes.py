"""A classification leaves its classes case by case, and how well it knows each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.metrics import Accuracy, Fbeta
from monai.data import DataLoader, Dataset, DistributedSampler, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import ROCAUC, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose, CopyItemsd
from PIL import Image

from flemme_monai.handlers import ClassReport, SaveClasses, TensorBoard
from flemme_monai.metrics import classified_case

NAMES = ["chest", "hand", "head"]
COUNT = 31


class Corner(torch.nn.Module):
    """Gives the image's first values as logits."""

    def forward(self, image):
        return image[:, 0, 0, :3] * 4


def cases(count=COUNT, known=True, seed=0):
    """Images whose first values tell the class, not always the right one."""
    random = np.random.default_rng(seed)
    items = []
    for k in range(count):
        label = k % 3
        pixels = random.random((1, 8, 8))
        pixels[0, 0, label] += 0.4
        image = MetaTensor(pixels.astype(np.float32), meta={"filename_or_obj": f"set/{NAMES[label]}/{k:02d}.png"})
        truth = {"class_label": label, "class_name": NAMES[label]}
        items.append({"image": image, "case": f"{NAMES[label]}/{k:02d}", **(truth if known else {})})
    return items


def evaluator(items, *handlers, sampler=None, network=None):
    """An evaluation as a bundle has it."""
    known = "class_label" in items[0]
    post = [Activationsd("pred", softmax=True), CopyItemsd("label", names="onehot"), AsDiscreted("onehot", to_onehot=3)]
    pair = from_engine(["pred", "label"])
    metrics = {"f1": Fbeta(1.0, output_transform=pair), "auc": ROCAUC(output_transform=from_engine(["pred", "onehot"]))}
    data = Dataset(items, CopyItemsd("class_label", names="label") if known else None)
    return SupervisedEvaluator(
        "cpu",
        DataLoader(data, batch_size=4, sampler=sampler, num_workers=0),
        Corner() if network is None else network,
        postprocessing=Compose(post if known else post[:1]),
        key_val_metric={"accuracy": Accuracy(output_transform=pair)} if known else None,
        additional_metrics=metrics if known else None,
        val_handlers=list(handlers),
    )


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expected(items):
    """The means over classes, by definition: pairs of cases in the right order are the area under the ROC curve."""
    truth = np.array([item["class_label"] for item in items])
    scores = torch.stack([item["image"].as_tensor()[0, 0, :3] * 4 for item in items]).softmax(1).numpy()
    predicted = scores.argmax(1)
    found = {"precision": [], "recall": [], "f1": [], "auc": []}
    for k in range(3):
        precision, recall = (truth[predicted == k] == k).mean(), (predicted[truth == k] == k).mean()
        ordered = scores[truth == k, k][:, None] > scores[truth != k, k]
        values = precision, recall, 2 * precision * recall / (precision + recall), ordered.mean()
        for name, value in zip(found, values):
            found[name].append(value)
    return {"accuracy": (predicted == truth).mean(), **{name: np.mean(values) for name, values in found.items()}}


def test_the_summary_has_the_scores_of_each_class(tmp_path: Path) -> None:
    run = evaluator(cases(), ClassReport(tmp_path))
    run.run()
    wanted = expected(cases())
    assert 0.4 < wanted["accuracy"] < 0.95
    summary = {(row["metric"], row["class"]): row for row in read(tmp_path / "summary.csv")}
    for name, value in wanted.items():
        assert float(summary[name, "all" if name == "accuracy" else "mean"]["value"]) == pytest.approx(value, abs=1e-5)
        assert run.state.metrics[name] == pytest.approx(value, abs=1e-5)
    assert [summary["f1", name]["n"] for name in [*NAMES, "mean"]] == ["11", "10", "10", "31"]


def test_the_metrics_of_the_engine_are_those_of_the_summary() -> None:
    run = evaluator(cases())
    run.run()
    assert run.state.metrics == {name: pytest.approx(expected(cases())[name]) for name in ("accuracy", "f1", "auc")}


def test_a_confusion_matrix_has_true_classes_as_rows(tmp_path: Path) -> None:
    evaluator(cases(), ClassReport(tmp_path)).run()
    rows = read(tmp_path / "confusion_matrix.csv")
    assert [row.pop("true") for row in rows] == NAMES == list(rows[0])
    assert [sum(map(int, row.values())) for row in rows] == [11, 10, 10]
    hits = sum(int(row[name]) for row, name in zip(rows, NAMES))
    assert hits / COUNT == pytest.approx(expected(cases())["accuracy"])
    assert Image.open(tmp_path / "confusion_matrix.png").size[0] > 200


def test_a_class_without_cases_has_empty_cells_and_no_part_in_the_mean(tmp_path: Path) -> None:
    items = [item for item in cases() if item["class_label"] != 2]
    report = ClassReport(tmp_path, class_names=NAMES)
    run = evaluator(items, report)
    run.run()
    summary = {(row["metric"], row["class"]): row["value"] for row in read(tmp_path / "summary.csv")}
    for metric in ("precision", "recall", "f1", "auc"):
        assert summary[metric, "head"] == ""
        values = [float(summary[metric, name]) for name in NAMES[:2]]
        assert run.state.metrics[metric] == pytest.approx(sum(values) / 2, abs=1e-5)


class First(torch.nn.Module):
    """Predicts class 0."""

    def forward(self, image):
        return torch.tensor([3.0, 0.0, 0.0]).expand(len(image), 3)


def test_a_class_that_is_never_predicted_has_scores_of_zero(tmp_path: Path) -> None:
    evaluator(cases(30), ClassReport(tmp_path), network=First()).run()
    summary = {(row["metric"], row["class"]): float(row["value"]) for row in read(tmp_path / "summary.csv")}
    assert summary["precision", "hand"] == summary["f1", "hand"] == summary["recall", "hand"] == 0
    assert summary["accuracy", "all"] == summary["precision", "chest"] == pytest.approx(1 / 3, abs=1e-5)
    assert summary["auc", "mean"] == 0.5


def test_predictions_have_a_row_a_case(tmp_path: Path) -> None:
    evaluator(cases(), SaveClasses(tmp_path)).run()
    rows = read(tmp_path / "predictions.csv")
    items = sorted(cases(), key=lambda item: item["case"])
    assert [row["case"] for row in rows] == [item["case"] for item in items]
    for row, item in zip(rows, items):
        logits = item["image"].as_tensor()[0, 0, :3] * 4
        assert row["file"] == item["image"].meta["filename_or_obj"]
        assert [float(row[f"p_{name}"]) for name in NAMES] == pytest.approx(logits.softmax(0).tolist(), rel=1e-4)
        assert (int(row["class"]), row["name"]) == (logits.argmax(), NAMES[logits.argmax()])
        assert (int(row["true_class"]), row["true_name"]) == (item["class_label"], item["class_name"])


def test_without_true_classes_there_are_numbers_or_the_names_given(tmp_path: Path) -> None:
    evaluator(cases(known=False), SaveClasses(tmp_path / "a"), SaveClasses(tmp_path / "b", class_names=NAMES)).run()
    first, second = read(tmp_path / "a" / "predictions.csv")[0], read(tmp_path / "b" / "predictions.csv")[0]
    assert list(first) == ["case", "file", "class", "name", "p_0", "p_1", "p_2"]
    assert (first["name"], second["name"]) == (first["class"], NAMES[int(first["class"])])


def test_slices_of_a_volume_stay_distinct(tmp_path: Path) -> None:
    items = [{**item, "case": "volume", "slice": k} for k, item in enumerate(cases(3))]
    evaluator(items, SaveClasses(tmp_path)).run()
    assert [row["case"] for row in read(tmp_path / "predictions.csv")] == ["volume_000", "volume_001", "volume_002"]


def test_a_picture_shows_as_many_cases_of_each_class(tmp_path: Path) -> None:
    evaluator(cases(), SaveClasses(tmp_path, num_images=6)).run()
    assert Image.open(tmp_path / "predictions.png").size == (6 * 132 - 4, 160)
    evaluator(cases(), SaveClasses(tmp_path / "none", num_images=0)).run()
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize("given", [["a", "b"], "abc"])
def test_names_that_are_not_as_many_as_classes_are_refused(tmp_path: Path, given) -> None:
    with pytest.raises(ValueError, match=r"class_names is .*a list of 3 names"):
        evaluator(cases(), SaveClasses(tmp_path, class_names=given)).run()


def test_a_class_beyond_the_networks_is_refused() -> None:
    output = {"image": torch.zeros(1, 4, 4), "pred": torch.tensor([0.2, 0.3, 0.5])}
    with pytest.raises(
        ValueError, match=r"a has class 3; expected 0 to 2, the classes of the network: set num_classes"
    ):
        classified_case({"case": "a", "class_label": 3}, output)


def test_logits_are_refused(tmp_path: Path) -> None:
    loader = evaluator(cases(known=False)).data_loader
    with pytest.raises(ValueError, match=r"expected probabilities \(classes,\) that sum to 1"):
        SupervisedEvaluator("cpu", loader, Corner(), val_handlers=[SaveClasses(tmp_path)]).run()


def test_an_evaluation_without_true_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of 31 cases has a class"):
        evaluator(cases(known=False), ClassReport(tmp_path)).run()


def test_tensorboard_shows_a_sheet_of_cases(make_run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(epochs=1)
    checked = evaluator(cases())
    board = TensorBoard(tmp_path / "tb", checked, task="classification")
    board.attach(run.trainer)
    run.trainer.add_event_handler("EPOCH_COMPLETED", lambda engine: checked.run())
    run.trainer.run()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert events.Tags()["images"] == ["cases"]


def work(rank: int, folder: str) -> None:
    """One of two processes, with cases that do not divide by two."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", world_size=2, rank=rank)
    items = cases()
    sampler = DistributedSampler(Dataset(items), even_divisible=False, shuffle=False)
    run = evaluator(items, SaveClasses(folder), ClassReport(folder), sampler=sampler)
    counted = {}
    run.add_event_handler("EPOCH_COMPLETED", lambda engine: counted.update(engine.state.metrics))
    run.run()
    Path(folder, f"{rank}.json").write_text(
        json.dumps({name: float(value) for name, value in counted.items()}), encoding="utf-8"
    )
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    evaluator(cases(), SaveClasses(tmp_path / "one"), ClassReport(tmp_path / "one")).run()
    for name in ("predictions.csv", "summary.csv", "confusion_matrix.csv"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (tmp_path / "one" / name).read_text(encoding="utf-8")
    wanted = {name: pytest.approx(expected(cases())[name]) for name in ("accuracy", "f1", "auc")}
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) == wanted


def test_the_class_may_be_among_the_most_probable_ones(tmp_path: Path) -> None:
    items = cases()
    truth = np.array([item["class_label"] for item in items])
    scores = torch.stack([item["image"].as_tensor()[0, 0, :3] * 4 for item in items]).numpy()
    second = np.sort(scores, axis=1)[:, -2]
    wanted = (scores[np.arange(len(truth)), truth] >= second).mean()  # not the least of three
    run = evaluator(items, ClassReport(tmp_path, top_k=2))
    run.run()
    assert run.state.metrics["top_2_accuracy"] == pytest.approx(wanted)
    assert run.state.metrics["accuracy"] < wanted < 1
    with pytest.raises(ValueError, match="top_k is 0"):
        ClassReport(tmp_path, top_k=0)
