"""Handlers meet through the engine: their places in the list, and what a user adds between them, change nothing."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.handlers import CheckpointLoader, StatsHandler, from_engine

from flemme_monai.handlers import EarlyStop, Progress, RunSummary, TensorBoard
from flemme_monai.utils import folder_lock


def with_all(make_run, folder, arrange=list, **options):
    """A run with all handlers of a bundle's training, their list changed by ``arrange``."""

    def more(run):
        return [TensorBoard(folder / "out", run.evaluator), Progress(), RunSummary([folder / "ckpt"], run.evaluator)]

    return make_run(folder, handlers=more, arrange=arrange, **{"epochs": 2, **options})


def numbers(run):
    return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in run.history.rows]


def inserted(index, handler):
    return lambda handlers: [*handlers[:index], handler, *handlers[index:]]


STATS = StatsHandler(iteration_log=False, output_transform=from_engine(["loss"], first=True))
ARRANGEMENTS = {
    "reversed": lambda handlers: handlers[::-1],
    "saved and reported first": lambda handlers: [*handlers[-2:], *handlers[:-2]],
    "statistics first": inserted(0, STATS),
    "statistics in the middle": inserted(4, STATS),
    "statistics last": inserted(99, STATS),
}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    from tiny_run import Run

    folder = tmp_path_factory.mktemp("usual")
    run = with_all(Run, folder)
    run.trainer.run()
    return run, torch.load(folder / "ckpt" / "last.pt", weights_only=True)


@pytest.mark.parametrize("arrange", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_no_order_of_the_handlers_changes_a_run(make_run, tmp_path, capsys, usual, arrange):
    run = with_all(make_run, tmp_path, arrange)
    run.trainer.run()
    expected, saved = usual
    assert numbers(run) == numbers(expected)
    state = torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)
    assert state["trainer"] == saved["trainer"]
    assert state["early_stop"] == saved["early_stop"]
    assert [row["epoch"] for row in state["history"]["rows"]] == [1, 2]
    assert all(torch.equal(state["network"][key], saved["network"][key]) for key in saved["network"])
    printed = capsys.readouterr().out
    assert "epoch 2/2: loss" in printed
    assert "val_mean_dice" in printed.split("epoch 2/2")[1].splitlines()[0]
    assert str(tmp_path / "ckpt" / "model.pt") in printed


@pytest.mark.parametrize("arrange", ["reversed", "statistics first"])
def test_a_resumed_run_is_the_same_in_any_order(make_run, tmp_path, usual, arrange):
    with_all(make_run, tmp_path, ARRANGEMENTS[arrange], epochs=1).trainer.run()
    run = with_all(make_run, tmp_path, ARRANGEMENTS[arrange], resume=True)
    run.trainer.run()
    assert [row["epoch"] for row in run.history.rows] == [1, 2]
    assert run.early_stop.state_dict()["counter"] == usual[1]["early_stop"]["counter"]


def test_a_loader_of_weights_at_the_first_place_loads_them(make_run, tmp_path):
    zeros = {k: torch.zeros_like(v) for k, v in make_run(tmp_path / "other").network.state_dict().items()}
    torch.save({"model": zeros}, tmp_path / "zeros.pt")

    def arrange(handlers):
        return [CheckpointLoader(str(tmp_path / "zeros.pt"), {"model": handlers[-1].network}), *handlers]

    run = with_all(make_run, tmp_path, arrange, epochs=1)
    seen = []
    run.trainer.add_event_handler(Events.EPOCH_STARTED, lambda e: seen.append(run.network[0].weight.abs().sum().item()))
    run.trainer.run()
    assert seen == [0.0]
    assert len(run.history.rows) == 1


def test_a_second_run_of_an_engine_writes_each_row_once(make_run, tmp_path, capsys):
    run = with_all(make_run, tmp_path, epochs=1)
    run.trainer.run()
    run.trainer.state.max_epochs = 2
    run.trainer.run()
    assert [row["epoch"] for row in run.history.rows] == [1, 2]
    assert capsys.readouterr().out.count("epoch 2/2: loss") == 1


def test_an_evaluator_that_runs_alone_is_not_watched(make_run):
    run = make_run()
    run.evaluator.state.key_metric_name = None  # an evaluation of samples has none
    EarlyStop(run.evaluator, 3).attach(run.trainer)
    run.evaluator.run()
    assert run.evaluator.state.epoch == 1


@pytest.mark.parametrize("wrong", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("place", [0, 99])
def test_a_training_holds_its_folders_until_it_is_done_or_fails(make_run, tmp_path, wrong, place):
    def locks():
        return sorted(path.parent.name for path in tmp_path.rglob(folder_lock.LOCK_FILE))

    during = []
    run = make_run(tmp_path, epochs=1)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: during.append(locks()))
    run.trainer.run()
    assert during == [["ckpt", "out"]]
    assert locks() == []

    def fail(engine):
        raise wrong("x")

    run = make_run(tmp_path, epochs=1, arrange=inserted(place, StatsHandler(output_transform=lambda output: None)))
    run.trainer.add_event_handler(Events.EPOCH_STARTED, fail)
    with pytest.raises(wrong):
        run.trainer.run()
    assert locks() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_of_tensorboard_names_its_file(make_run, tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    run = make_run(epochs=1, handlers=lambda run: [TensorBoard(tmp_path / "tb")])
    with pytest.raises(OSError, match=r"tb/events\.out\.tfevents cannot be written \(No space left"):
        run.trainer.run()
