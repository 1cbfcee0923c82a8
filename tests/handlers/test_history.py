"""Each epoch leaves one row of numbers."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.handlers import from_engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flemme_monai.handlers import History, Progress, TensorBoard, ValidationLoss
from flemme_monai.handlers.history import scalars
from flemme_monai.losses import SegmentationLoss


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("decollate", [True, False])
def test_the_loss_is_the_mean_over_the_epochs_images(make_run, decollate):
    run = make_run(epochs=1, decollate=decollate)
    seen = []

    def keep(engine):
        output = engine.state.output
        seen.append((float(from_engine(["loss"], first=True)(output)), len(output)))

    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, keep)
    run.trainer.run()
    assert [n for _, n in seen] == [4, 4, 2]
    assert run.history.rows[0]["loss"] == pytest.approx(sum(loss * n for loss, n in seen) / 10)


def test_the_table_has_a_row_an_epoch_and_gaps_where_nothing_was_validated(make_run, tmp_path):
    run = make_run(epochs=3, val_interval=2)
    run.trainer.run()
    rows = read(tmp_path / "out" / "metrics.csv")
    assert list(rows[0]) == ["epoch", "loss", "learning_rate", "seconds", "waiting", "val_mean_dice"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["val_mean_dice"] != "" for row in rows] == [False, True, False]
    assert all(0 <= float(row["waiting"]) <= 1 for row in rows)


def test_waiting_is_the_share_of_an_epoch_that_passes_until_batches_are_there(tmp_path, monkeypatch):
    """On a clock that moves only while a batch is fetched (1 s each) and in a step (3 s each)."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("flemme_monai.handlers.history.time.perf_counter", lambda: clock.now)

    def batches():
        for _ in range(3):
            clock.now += 1
            yield torch.ones(2, 1)

    def step(engine, batch):
        clock.now += 3
        return {"loss": torch.tensor(0.5), "image": batch}

    trainer = Engine(step)
    trainer.register_events(*IterationEvents)
    trainer.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    trainer.state.device = "cpu"
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.state.times.update({Events.EPOCH_COMPLETED.name: clock.now})
    )
    history = History(tmp_path)
    history.attach(trainer)
    trainer.run(batches(), epoch_length=3)
    assert history.rows[0]["waiting"] == pytest.approx(3 / 12)


def test_the_learning_rate_is_the_one_of_the_epochs_last_step(make_run):
    run = make_run(epochs=1)
    used = []
    run.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: used.append(run.optimizer.param_groups[0]["lr"])
    )
    run.trainer.run()
    assert run.history.rows[0]["learning_rate"] == used[-1]


def test_curves_are_drawn_at_the_end(make_run, tmp_path):
    from PIL import Image

    make_run(epochs=2).trainer.run()
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.width > 600


def test_a_metric_of_several_values_takes_several_columns():
    metrics = {"dice": torch.tensor([0.5, 0.25]), "iou": 0.1}
    assert scalars(metrics) == pytest.approx({"dice_0": 0.5, "dice_1": 0.25, "iou": 0.1})


def test_an_output_folder_that_cannot_be_written_stops_before_training(make_run, tmp_path):
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    run = make_run()
    with pytest.raises(ValueError, match="out is not a writable folder"):
        run.trainer.run()
    assert run.trainer.state.iteration == 0


def test_a_loss_of_several_terms_has_a_column_for_each(make_run, tmp_path, capsys):
    run = make_run(epochs=2, handlers=lambda run: [Progress(), TensorBoard(tmp_path / "tb", run.evaluator)])
    run.trainer.loss_function = SegmentationLoss([{"loss": "ce", "weight": 0.3}, "dice", "focal"])
    run.trainer.run()
    row = read(tmp_path / "out" / "metrics.csv")[0]
    assert list(row)[1:5] == ["loss", "loss_ce", "loss_dice", "loss_focal"]
    assert sum(float(row[name]) for name in list(row)[2:5]) == pytest.approx(float(row["loss"]), abs=1e-4)
    assert "loss_ce" not in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert {"loss", "loss_ce", "loss_dice", "loss_focal"} <= set(events.Tags()["scalars"])
    assert [e.value for e in events.Scalars("loss_ce")] == pytest.approx([r["loss_ce"] for r in run.history.rows])


def test_the_terms_of_an_epoch_are_means_over_its_images_and_not_of_the_validation(make_run):
    run = make_run(epochs=1)
    loss, seen = SegmentationLoss(), []
    run.trainer.loss_function = loss
    ValidationLoss(loss).attach(run.evaluator, "val_loss")
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append((float(loss.recorded["ce"]), len(e.state.output)))
    )
    run.trainer.run()
    assert run.history.rows[0]["loss_ce"] == pytest.approx(sum(value * n for value, n in seen) / 10)
