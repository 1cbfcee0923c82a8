"""In a distributed run the processes agree and only the first one writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from tiny_run import Run

from flemme_monai.handlers import Progress, RunSummary, SaveCaseMetrics, SaveExamples, TensorBoard


def all_that_write(run: Run, folder: Path) -> list:
    """The handlers that a run has beside its own."""
    SaveCaseMetrics(folder / "report").attach(run.evaluator)
    board = TensorBoard(folder / "tb", run.evaluator)
    examples = SaveExamples(folder / "out", run.evaluator, "segmentation")
    return [board, Progress(), examples, RunSummary([folder], run.evaluator)]


def work(rank: int, folder: str) -> None:
    """One process: a run that writes into a folder of its own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", world_size=2, rank=rank)
    own = Path(folder) / str(rank)
    own.mkdir()

    def handlers(run: Run) -> list:
        return all_that_write(run, own)

    run = Run(own, epochs=1, handlers=handlers)
    losses = []
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output[0]["loss"]) * len(e.state.output))
    )
    run.trainer.run()
    found = sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file())
    numbers = {"loss": run.history.rows[0]["loss"], "sum": sum(losses), "files": found}
    Path(folder, f"{rank}.json").write_text(json.dumps(numbers), encoding="utf-8")
    torch.distributed.destroy_process_group()


def test_another_process_than_the_first_writes_nothing(make_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: 1)
    make_run(epochs=1, handlers=lambda run: all_that_write(run, tmp_path)).trainer.run()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_only_the_first_process_writes(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
    assert second["files"] == []
    expected = {
        "ckpt/last.pt",
        "ckpt/model.pt",
        "out/curves.png",
        "out/examples.png",
        "out/metrics.csv",
        "report/cases.csv",
    }
    assert expected <= set(first["files"])
    assert first["loss"] == pytest.approx(second["loss"])
    assert first["loss"] == pytest.approx((first["sum"] + second["sum"]) / 20)
    assert first["sum"] != second["sum"]
    assert (tmp_path / "0" / "report" / "cases.csv").read_text(encoding="utf-8").count("\n") == 1 + 2 * 3
