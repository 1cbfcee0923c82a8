"""Gradient clipping, early stopping, loading of weights, progress, report and TensorBoard."""

from __future__ import annotations

import os
import re
import sys
import time

import pytest
import torch
from ignite.engine import Events

from flemme_monai.handlers import CheckpointLoader, ClipGradients, Progress, RunSummary, TensorBoard
from flemme_monai.utils.record import make_record, write_record


def gradient_norm(network):
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters()]).item()


def test_the_gradient_of_each_step_is_within_the_bound(make_run):
    run = make_run(epochs=1, handlers=lambda run: [ClipGradients(0.05)])
    norms = []
    run.optimizer.register_step_post_hook(lambda *_: norms.append(gradient_norm(run.network)))
    run.trainer.run()
    assert len(norms) == 3
    assert all(norm <= 0.05 * 1.001 for norm in norms)


def test_accumulated_gradients_are_clipped_as_a_sum(make_run):
    run = make_run(epochs=1, handlers=lambda run: [ClipGradients(0.05)], accumulation_steps=3)
    norms = []
    run.optimizer.register_step_post_hook(lambda *_: norms.append(gradient_norm(run.network)))
    run.trainer.run()
    assert norms == [pytest.approx(0.05, rel=1e-3)]


def test_scaled_gradients_are_clipped_after_unscaling():
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    optimizer.register_step_pre_hook(ClipGradients(0.1)._clip)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(layer(torch.ones(2, 4)).sum()).backward()
    scaler.step(optimizer)
    assert gradient_norm(layer) == pytest.approx(0.1, rel=1e-3)


def test_a_fused_optimizer_that_unscales_itself_gets_scaled_gradients_within_the_bound():
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    optimizer.grad_scale = torch.tensor(1024.0)  # as GradScaler does for it
    (layer(torch.ones(2, 4)).sum() * 1024).backward()
    ClipGradients(0.1)._clip(optimizer, (), {})
    assert gradient_norm(layer) == pytest.approx(0.1 * 1024, rel=1e-3)


def test_small_gradients_stay_as_they_are():
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    layer(torch.ones(1, 4)).sum().backward()
    before = layer.weight.grad.clone()
    ClipGradients(100.0)._clip(optimizer, (), {})
    assert torch.equal(layer.weight.grad, before)


def test_a_bound_of_zero_is_refused():
    with pytest.raises(ValueError, match="max_norm is 0"):
        ClipGradients(0)


def test_training_stops_when_patience_is_spent(make_run):
    run = make_run(epochs=4, patience=2)
    run.evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_mean_dice=0.5))
    run.trainer.run()
    assert run.trainer.state.epoch == 3


def test_a_falling_error_is_an_improvement_where_the_evaluator_says_so(make_run):
    run = make_run(epochs=4, patience=2)
    run.evaluator.metric_cmp_fn = lambda new, best: new < best
    run.evaluator.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_mean_dice=1 / e.state.epoch)
    )
    run.trainer.run()
    assert run.trainer.state.epoch == 4


def test_weights_are_loaded_when_the_engine_starts(make_run, tmp_path):
    run = make_run()
    weights = {k: torch.zeros_like(v) for k, v in run.network.state_dict().items()}
    torch.save(weights, tmp_path / "model.pt")
    CheckpointLoader(tmp_path / "model.pt", run.network).attach(run.evaluator)
    run.evaluator.run()
    assert all(not v.any() for v in run.network.state_dict().values())


def test_weights_are_not_loaded_under_another_meaning(make_run, tmp_path):
    run = make_run()
    before = {k: v.clone() for k, v in run.network.state_dict().items()}
    torch.save({k: torch.zeros_like(v) for k, v in before.items()}, tmp_path / "model.pt")
    write_record(tmp_path, make_record(run.network, {"prediction_type": "epsilon"}))
    loader = CheckpointLoader(tmp_path / "model.pt", run.network, {"prediction_type": "sample"})
    with pytest.raises(ValueError, match=r"^prediction_type is 'sample' here and 'epsilon' in .*network\.json: set"):
        loader(run.evaluator)
    write_record(tmp_path, make_record(torch.nn.Conv2d(1, 1, 1), {}))
    with pytest.raises(ValueError, match=r"^network_def#_target_ is 'torch\.nn\.modules\.Sequential' here and 'torch"):
        loader(run.evaluator)
    assert all(torch.equal(v, before[k]) for k, v in run.network.state_dict().items())


def test_a_log_file_gets_one_line_an_epoch(make_run, capsys):
    make_run(epochs=2, handlers=lambda run: [Progress()]).trainer.run()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: loss ")
    assert "val_mean_dice" in lines[1]
    assert err == ""


def test_a_terminal_gets_a_bar_with_the_loss(make_run, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run = make_run(epochs=1, handlers=lambda run: [Progress()])
    run.trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: time.sleep(0.12))  # the bar moves each 0.1 s
    run.trainer.run()
    err = capsys.readouterr().err
    assert "epoch 1/1" in err
    assert "3/3" in err
    assert re.search(r"loss [01]\.\d", err)


def test_the_report_names_the_metric_and_the_files(make_run, tmp_path, capsys):
    old = tmp_path / "out" / "old.txt"
    old.parent.mkdir()
    old.touch()
    os.utime(old, (0, 0))
    run = make_run(epochs=2)
    RunSummary([tmp_path / "ckpt", tmp_path / "out"], run.evaluator).attach(run.trainer)
    run.trainer.run()
    out = capsys.readouterr().out
    state = run.evaluator.state
    assert f"best val_mean_dice {state.best_metric:.3g} (epoch {state.best_metric_epoch} of 2)" in out
    for path in ("ckpt/model.pt", "ckpt/last.pt", "out/metrics.csv", "out/curves.png"):
        assert str(tmp_path / path) in out
    assert "old.txt" not in out


def test_the_report_has_all_metrics_of_the_best_epoch_in_one_line(make_run, tmp_path, capsys):
    run = make_run()
    report = RunSummary([tmp_path / "out"], run.evaluator)
    run.trainer.state.history = run.history
    run.history.rows = [
        {"epoch": 1, "loss": 2.0, "psnr": 27.34, "ssim": 0.8613},
        {"epoch": 2, "loss": 1.0, "psnr": 20.0},
    ]
    state = run.evaluator.state
    state.key_metric_name, state.best_metric, state.best_metric_epoch = "psnr", 27.34, 1
    state.metrics = {"psnr": 20.0, "ssim": 0.5}
    run.trainer.state.epoch = 2
    assert report._metrics(run.trainer) == ["best psnr 27.3 dB, ssim 0.861 (epoch 1 of 2)"]


def test_the_report_of_an_evaluation_lists_its_metrics(make_run, tmp_path, capsys):
    run = make_run()
    run.evaluator.add_event_handler(Events.COMPLETED, lambda engine: engine.state.metrics.update(absent=float("nan")))
    RunSummary([tmp_path]).attach(run.evaluator)
    run.evaluator.run()
    out = capsys.readouterr().out
    assert "absent                   not defined" in out
    assert f"val_mean_dice            {run.evaluator.state.metrics['val_mean_dice']:.4f}" in out
    assert "nothing was written" in out


def test_tensorboard_shows_numbers_and_pictures(make_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(epochs=2, handlers=lambda run: [TensorBoard(tmp_path / "tb", run.evaluator, num_images=2)])
    run.trainer.run()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert {"loss", "learning_rate", "val_mean_dice"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert events.Tags()["images"] == ["case_0", "case_1"]


def test_an_unknown_task_is_refused(make_run, tmp_path):
    with pytest.raises(ValueError, match="task is 'paint'"):
        TensorBoard(tmp_path, task="paint")
