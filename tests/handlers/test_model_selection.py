"""What cannot be learned or judged is said before a training, and the best model is chosen by what can."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.transforms import Compose, RandSpatialCropd
from tiny_run import discs

from flemme_monai.data import CaseDataset
from flemme_monai.handlers import CheckForeground, ValidationLoss
from flemme_monai.handlers.model_selection import absent_classes


def empty(items):
    return [{**item, "label": torch.zeros_like(item["label"])} for item in items]


def checked(make_run, training, validation, num_classes=2, **options):
    """A run that validates on the items of ``validation`` and takes those of ``training`` for its own."""

    def handlers(run):
        return [CheckForeground(Dataset(training), Dataset(validation), num_classes, run.evaluator)]

    return make_run(handlers=handlers, validation=validation, metrics={"val_loss": ValidationLoss(loss)}, **options)


def loss(prediction, label):
    return torch.nn.functional.cross_entropy(prediction, label[:, 0].long())


def test_without_foreground_to_validate_the_loss_chooses_and_it_is_said(make_run, caplog):
    run = checked(make_run, discs(4, 0), empty(discs(3, 1)), epochs=4)
    losses = {}
    run.evaluator.add_event_handler(
        Events.COMPLETED, lambda engine: losses.update({engine.state.epoch: engine.state.metrics["val_loss"]})
    )
    with caplog.at_level(logging.WARNING):
        run.trainer.run()
    assert not run.evaluator.metric_cmp_fn(0.5, 0.5)  # an equal loss is no better one
    best = min(losses, key=losses.get)
    assert best > 1
    assert run.evaluator.state.best_metric_epoch == best
    assert run.evaluator.state.best_metric == pytest.approx(losses[best])
    (line,) = [r.message for r in caplog.records if "foreground" in r.message]
    assert line.startswith(
        "none of the 3 validation cases has foreground: the best model is chosen by the validation loss"
    )
    assert "not by val_mean_dice" in line


def test_early_stop_follows_the_loss_too(make_run):
    run = checked(make_run, discs(4, 0), empty(discs(3, 1)), epochs=4, patience=2)
    run.evaluator.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_loss=1 / e.state.epoch)
    )
    run.trainer.run()
    assert run.trainer.state.epoch == 4
    run = checked(make_run, discs(4, 0), empty(discs(3, 1)), epochs=4, patience=2)
    run.evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_loss=e.state.epoch))
    run.trainer.run()
    assert run.trainer.state.epoch == 3


def test_with_foreground_dice_chooses_and_nothing_is_said(make_run, caplog):
    run = checked(make_run, discs(4, 0), discs(3, 1), epochs=1)
    run.trainer.run()
    assert run.evaluator.state.key_metric_name == "val_mean_dice"
    assert run.evaluator.state.best_metric == run.evaluator.state.metrics["val_mean_dice"]
    assert not [r for r in caplog.records if "cases" in r.message or "images" in r.message]


@pytest.mark.parametrize(
    ("training", "validation", "expected"),
    [
        (
            discs(4, 0),
            discs(3, 1),
            ["none of the 4 training images has class 2", "none of the 3 validation cases has class 2"],
        ),
        (
            empty(discs(4, 0)),
            discs(3, 1),
            ["none of the 4 training images has foreground", "none of the 3 validation cases has class 2"],
        ),
    ],
)
def test_absent_classes_are_named(make_run, caplog, training, validation, expected):
    run = checked(make_run, training, validation, num_classes=3, epochs=1)
    CheckForeground(Dataset(training), Dataset(validation), 3, run.evaluator)(run.trainer)
    lines = [r.message for r in caplog.records]
    assert [line.split(":")[0] for line in lines] == expected
    assert run.evaluator.state.key_metric_name == "val_mean_dice"


def test_a_random_crop_does_not_hide_a_class():
    items = discs(3, 0)
    crops = Compose([RandSpatialCropd(["image", "label"], (1, 1), random_size=False)])
    assert absent_classes(CaseDataset(items, crops, progress=False), 3) == [2]


def test_the_validation_loss_is_that_of_what_the_network_gives(make_run):
    run = checked(make_run, discs(4, 0), discs(3, 1), epochs=1)
    run.trainer.run()
    expected = []
    with torch.no_grad():
        for item in discs(3, 1):
            logits = run.evaluator.inferer(item["image"][None].as_tensor(), run.network.eval())
            expected.append(loss(logits, item["label"][None]).item())
    assert run.evaluator.state.metrics["val_loss"] == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert not math.isnan(run.history.rows[-1]["val_loss"])


def test_masks_of_classes_are_looked_at_one_by_one():
    masks = torch.zeros(3, 4, 4)
    masks[1] = 1
    assert absent_classes(Dataset([{"label": masks}]), 4, multi_label=True) == [1, 3]


def test_a_class_that_another_process_has_is_not_absent(make_run, monkeypatch, caplog):
    items = [{"image": torch.zeros(1, 4, 4), "label": torch.ones(1, 4, 4)}]  # class 1 here, 2 there
    run = checked(make_run, items, items, num_classes=4, epochs=1)

    def reduced(value, op="SUM"):
        return 5 + value if op == "SUM" else torch.minimum(value, torch.tensor([1, 1, 0, 1]))

    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("ignite.distributed.all_reduce", reduced)
    check = CheckForeground(Dataset(items), Dataset(items), 4, run.evaluator)
    with caplog.at_level(logging.WARNING):
        check(run.trainer)
    lines = [record.message for record in caplog.records]
    assert lines[0] == "none of the 6 training images has class 3: it cannot be learned"
    assert lines[1].startswith("none of the 6 validation cases has class 3: ")
