"""A run can be killed at any time and taken up again."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from ignite.engine import Events

from flemme_monai.handlers import TrainingCheckpoint, training_checkpoint


def weights(run):
    return {k: v.clone() for k, v in run.network.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(make_run, tmp_path):
    whole = make_run(tmp_path / "whole")
    whole.trainer.run()

    killed = make_run(tmp_path / "killed")
    killed.kill_at(8)  # 3 iterations an epoch: in the middle of the third
    with pytest.raises(KeyboardInterrupt):
        killed.trainer.run()
    resumed = make_run(tmp_path / "killed", resume=True)
    torch.rand(5)  # other random numbers drawn before the start change nothing
    resumed.trainer.run()

    assert_equal(weights(whole), weights(resumed))
    assert whole.optimizer.state_dict()["param_groups"] == resumed.optimizer.state_dict()["param_groups"]
    for ours, theirs in zip(
        whole.optimizer.state_dict()["state"].values(), resumed.optimizer.state_dict()["state"].values(), strict=True
    ):
        assert_equal(ours, theirs)
    assert whole.scheduler.state_dict() == resumed.scheduler.state_dict()
    assert resumed.trainer.state.epoch == 4
    assert resumed.trainer.state.iteration == 12

    def numbers(run):
        return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in run.history.rows]

    assert numbers(whole) == numbers(resumed)
    for name in ("model.pt", "last.pt"):
        one, other = (torch.load(tmp_path / k / "ckpt" / name, weights_only=True) for k in ("whole", "killed"))
        assert_equal(one.get("network", one), other.get("network", other))


def test_epochs_are_augmented_differently(make_run):
    run = make_run(epochs=2)
    seen = []
    run.trainer.add_event_handler(Events.GET_BATCH_COMPLETED, lambda e: seen.append(e.state.batch["image"].clone()))
    run.trainer.run()
    assert not torch.equal(seen[0], seen[3])


def test_model_pt_is_the_bare_network_at_its_best_epoch(make_run, tmp_path):
    run = make_run()
    at = {}
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: at.update({e.state.epoch: weights(run)}))
    run.trainer.run()
    best = run.evaluator.state.best_metric_epoch
    assert best == max(run.history.rows, key=lambda row: row["val_mean_dice"])["epoch"]
    assert_equal(torch.load(tmp_path / "ckpt" / "model.pt", weights_only=True), at[best])


def test_the_best_metric_survives_a_resume(make_run, tmp_path):
    run = make_run(epochs=1)
    run.trainer.run()
    before = (tmp_path / "ckpt" / "model.pt").read_bytes()
    path = tmp_path / "ckpt" / "last.pt"
    state = torch.load(path, weights_only=True)
    state["trainer"] |= {"best_metric": 1.0, "best_metric_epoch": 1}
    torch.save(state, path)
    resumed = make_run(resume=True)
    resumed.trainer.run()
    assert resumed.evaluator.state.best_metric == 1.0
    assert (tmp_path / "ckpt" / "model.pt").read_bytes() == before


def test_settings_and_network_are_kept_beside_the_weights(make_run, tmp_path):
    run = make_run(epochs=1)
    run.state.settings = {"schedule": "cosine", "image_size": (16, 16)}
    run.trainer.run()
    record = json.loads((tmp_path / "ckpt" / "network.json").read_text(encoding="utf-8"))
    assert record["network"] == {"_target_": "torch.nn.modules.Sequential"}
    assert record["settings"] == {"schedule": "cosine", "image_size": [16, 16]}
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["record"] == record


def test_the_record_is_as_old_as_the_best_weights(make_run, tmp_path):
    """A run under other settings that ends before its first validation leaves weights and record of the one before."""
    make_run(epochs=1).trainer.run()
    before = (tmp_path / "ckpt" / "network.json").read_bytes()
    run = make_run(epochs=2, val_interval=2)
    run.state.settings = {"schedule": "linear_beta"}
    run.kill_at(4)
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    assert (tmp_path / "ckpt" / "network.json").read_bytes() == before
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["record"]["settings"] == run.state.settings


def test_weights_that_find_no_room_leave_the_record_of_those_before(make_run, tmp_path, monkeypatch):
    make_run(epochs=1).trainer.run()
    before = {name: (tmp_path / "ckpt" / name).read_bytes() for name in ("network.json", "model.pt")}
    run = make_run(epochs=1)
    run.state.settings = {"schedule": "linear_beta"}

    def full(state, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"model\.pt cannot be written"):
        run.trainer.run()
    assert {name: (tmp_path / "ckpt" / name).read_bytes() for name in before} == before


def test_a_run_is_not_resumed_under_other_settings(make_run):
    run = make_run(epochs=1)
    run.state.settings = {"schedule": "cosine", "image_size": 16}
    run.trainer.run()
    resumed = make_run(resume=True)
    resumed.state.settings = {"schedule": "linear_beta", "image_size": 32}
    with pytest.raises(ValueError, match=r"^schedule is 'linear_beta' here and 'cosine' in .*last\.pt: "):
        resumed.trainer.run()


def test_a_run_of_an_earlier_version_is_resumed_and_that_is_said(make_run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make_run(epochs=1).trainer.run()
    path = tmp_path / "ckpt" / "last.pt"
    state = torch.load(path, weights_only=True)
    del state["record"]
    torch.save(state, path)
    make_run(epochs=2, resume=True).trainer.run()
    assert f"no record in {path}: network and settings are as this config says" in caplog.messages


def test_the_early_stop_counter_survives_a_resume(make_run):
    run = make_run(epochs=1, patience=3)
    run.trainer.run()
    run.early_stop.load_state_dict(run.early_stop.state_dict() | {"counter": 2, "best_score": 2.0})
    run.state._save(run.trainer)
    resumed = make_run(patience=3, resume=True)
    resumed.trainer.run()
    assert resumed.trainer.state.epoch == 2


def test_a_run_that_stopped_early_does_not_go_on(make_run):
    run = make_run(epochs=1, patience=3)
    run.trainer.run()
    run.early_stop.load_state_dict(run.early_stop.state_dict() | {"counter": 3, "best_score": 2.0})
    run.state._save(run.trainer)
    resumed = make_run(patience=3, resume=True)
    resumed.trainer.run()
    assert resumed.trainer.state.epoch == 1


def test_a_finished_run_is_not_trained_again(make_run):
    run = make_run(epochs=2)
    run.trainer.run()
    resumed = make_run(epochs=2, resume=True)
    resumed.trainer.run()
    assert_equal(weights(run), weights(resumed))
    assert resumed.trainer.state.epoch == 2


def test_a_finished_run_goes_on_for_more_epochs(make_run):
    make_run(epochs=2).trainer.run()
    resumed = make_run(epochs=3, resume=True)
    resumed.trainer.run()
    assert [row["epoch"] for row in resumed.history.rows] == [1, 2, 3]


def test_resume_without_a_checkpoint_names_it(make_run, tmp_path):
    with pytest.raises(ValueError, match=r"no .*last\.pt"):
        make_run(resume=True)
    assert not (tmp_path / "ckpt").exists()


def test_resume_of_another_network_names_the_first_keys(make_run, tmp_path):
    make_run(epochs=1).trainer.run()
    path = tmp_path / "ckpt" / "last.pt"
    state = torch.load(path, weights_only=True)
    state["network"]["0.weight"] = torch.zeros(2, 2)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"last\.pt does not fit the network: 0\.weight is \(2, 2\)"):
        make_run(resume=True).trainer.run()


@pytest.mark.parametrize("frozen", [[], ["0.weight"], ["0.weight", "0.bias"]])
def test_a_run_goes_on_with_the_parameters_that_it_began_to_train(make_run, tmp_path, frozen):
    run = make_run(epochs=1)
    run.network[0].weight.requires_grad_(False)
    run.trainer.run()
    again = make_run(epochs=2, resume=True)
    for name in frozen:
        again.network.get_parameter(name).requires_grad_(False)
    if frozen == ["0.weight"]:
        again.trainer.run()
        return
    differs = rf"froze 1 parameters and this one {len(frozen)} \(0\.\w+ differs\); expected the same: give --freeze"
    with pytest.raises(ValueError, match=differs):
        again.trainer.run()


def test_a_run_of_a_version_that_froze_nothing_goes_on(make_run, tmp_path):
    make_run(epochs=1).trainer.run()
    path = tmp_path / "ckpt" / "last.pt"
    state = torch.load(path, weights_only=True)
    assert state.pop("frozen") == {"names": []}
    torch.save(state, path)
    make_run(epochs=2, resume=True).trainer.run()


def test_resume_with_another_optimizer_names_the_difference(make_run):
    make_run(epochs=1).trainer.run()
    run = make_run(epochs=2, resume=True)
    run.state.parts["optimizer"] = torch.optim.SGD(run.network.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"last\.pt is of another optimizer \(.*betas.*momentum.* differ\)"):
        run.trainer.run()


def test_best_weights_are_not_a_run_to_resume(make_run, tmp_path):
    make_run(epochs=1).trainer.run()
    (tmp_path / "ckpt" / "model.pt").replace(tmp_path / "ckpt" / "last.pt")
    with pytest.raises(ValueError, match="cannot be resumed"):
        make_run(resume=True).trainer.run()


@pytest.mark.parametrize("name", ["model.pt", "last.pt"])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one(make_run, tmp_path, monkeypatch, name):
    make_run(epochs=1).trainer.run()
    before = (tmp_path / "ckpt" / name).read_bytes()

    def die(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(training_checkpoint.torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        make_run().trainer.run()
    assert (tmp_path / "ckpt" / name).read_bytes() == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(make_run, tmp_path, bad):
    run = make_run()
    kept = {}

    def poison(engine):
        if engine.state.iteration == 5:
            kept.update(weights(run))
            engine.state.batch["image"][:] = bad

    run.trainer.add_event_handler(Events.GET_BATCH_COMPLETED, lambda e: None)
    run.trainer.add_event_handler(Events.ITERATION_STARTED, poison)
    with pytest.raises(
        ValueError, match=r"nan at epoch 2, iteration 2; last good checkpoint: .*last\.pt \(epoch 1\)"
    ) as e:
        run.trainer.run()
    assert "\n" not in str(e.value)
    parameters = dict(run.network.named_parameters())
    assert all(torch.equal(v, kept[k]) for k, v in parameters.items())


def test_a_run_without_validation_leaves_a_model(make_run, tmp_path):
    run = make_run(epochs=1, val_interval=5)
    run.trainer.run()
    assert_equal(torch.load(tmp_path / "ckpt" / "model.pt", weights_only=True), weights(run))


def test_a_metric_that_is_not_a_number_is_no_best(make_run):
    run = make_run(epochs=2)

    @run.evaluator.on(Events.EPOCH_COMPLETED)
    def spoil(engine):
        if engine.state.epoch == 1:
            engine.state.best_metric = math.nan

    run.trainer.run()
    assert run.evaluator.state.best_metric_epoch == 2
    assert run.evaluator.state.best_metric >= 0


def test_a_folder_that_cannot_be_written_stops_before_training(make_run, tmp_path):
    (tmp_path / "ckpt").write_text("a file", encoding="utf-8")
    run = make_run()
    with pytest.raises(ValueError, match="ckpt is not a writable folder"):
        run.trainer.run()
    assert run.trainer.state.iteration == 0


def test_wrapped_networks_are_saved_bare(make_run, tmp_path):
    run = make_run()
    state = TrainingCheckpoint(tmp_path / "ckpt", torch.nn.DataParallel(run.network), run.optimizer, run.scheduler)
    run.trainer.state.epoch = 1
    (tmp_path / "ckpt").mkdir()
    state._save(run.trainer)
    saved = torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["network"]
    assert_equal(saved, weights(run))


AVERAGE = {"momentum": 0.1, "momentum_warmup": 0.5, "warmup_iters": 10}


def saved(folder, name):
    return torch.load(folder / "ckpt" / name, weights_only=True)


def test_the_average_is_saved_as_the_model_and_the_weights_beside_it(make_run, tmp_path):
    run = make_run(ema=AVERAGE)
    at = {}

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def keep(engine):
        average = {k: v.clone() for k, v in run.ema.ema_model.state_dict().items()}
        at[engine.state.epoch] = average, weights(run)

    run.trainer.run()
    average, raw = at[run.evaluator.state.best_metric_epoch]
    assert_equal(saved(tmp_path, "model.pt"), average)
    assert_equal(saved(tmp_path, "model_raw.pt"), raw)
    assert not torch.equal(average["0.weight"], raw["0.weight"])


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_average_moves_by_the_momentum_at_every_step_of_the_optimizer(make_run, accumulation_steps):
    run = make_run(epochs=2, ema={"momentum": 0.1}, accumulation_steps=accumulation_steps)
    expected, steps = [p.detach().clone() for p in run.network.parameters()], []

    def follow(*_):
        steps.append(run.trainer.state.iteration)
        for mean, parameter in zip(expected, run.network.parameters()):
            mean.lerp_(parameter.detach(), 0.1)

    run.optimizer.register_step_post_hook(follow)
    run.trainer.run()
    assert steps == {1: [1, 2, 3, 4, 5, 6], 2: [2, 3, 5, 6]}[accumulation_steps]
    torch.testing.assert_close([*run.ema.ema_model.parameters()], expected)


def test_validation_sees_the_average_and_training_the_weights(make_run):
    run = make_run(epochs=2, ema=AVERAGE)
    seen = []
    run.network.register_forward_pre_hook(lambda net, args: seen.append(("weights", net.training)))
    run.ema.ema_model.register_forward_pre_hook(lambda net, args: seen.append(("average", net.training)))
    run.trainer.run()
    assert set(seen) == {("weights", True), ("average", False)}


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_resumed_run_goes_on_with_the_average_and_its_warm_up(make_run, tmp_path, accumulation_steps):
    average = {"ema": AVERAGE, "accumulation_steps": accumulation_steps}
    whole = make_run(tmp_path / "whole", **average)
    whole.trainer.run()
    killed = make_run(tmp_path / "resumed", **average)
    killed.kill_at(8)  # in the third epoch, after 6 or 4 steps of the warm-up's 10
    with pytest.raises(KeyboardInterrupt):
        killed.trainer.run()
    resumed = make_run(tmp_path / "resumed", resume=True, **average)
    resumed.trainer.run()
    steps = {1: 12, 2: 8}[accumulation_steps]  # of the optimizer, which the warm-up counts
    assert whole.ema.momentum_scheduler.event_index == resumed.ema.momentum_scheduler.event_index == steps
    assert_equal(saved(tmp_path / "resumed", "last.pt")["ema"], saved(tmp_path / "whole", "last.pt")["ema"])
    assert_equal(whole.ema.ema_model.state_dict(), resumed.ema.ema_model.state_dict())
    for name in "model.pt", "model_raw.pt":
        assert_equal(saved(tmp_path / "resumed", name), saved(tmp_path / "whole", name))


@pytest.mark.parametrize("ema", [None, AVERAGE])
def test_an_average_is_neither_dropped_nor_begun_by_a_resume(make_run, ema):
    make_run(epochs=1, ema=AVERAGE if ema is None else None).trainer.run()
    with pytest.raises(ValueError, match=r"last\.pt cannot be resumed: it holds"):
        make_run(ema=ema, resume=True).trainer.run()


def test_without_an_average_there_are_no_raw_weights(make_run, tmp_path):
    make_run(epochs=1).trainer.run()
    assert {path.name for path in (tmp_path / "ckpt").iterdir()} == {"model.pt", "last.pt", "network.json"}


@pytest.mark.parametrize("ema", [None, AVERAGE])
def test_snapshots_show_how_the_model_became(make_run, tmp_path, ema):
    run = make_run(epochs=5, ema=ema, snapshot_interval=2)
    evaluated, at = run.evaluator.network, {}

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def keep(engine):
        at[engine.state.epoch] = {k: v.clone() for k, v in evaluated.state_dict().items()}

    run.trainer.run()
    assert sorted(p.name for p in (tmp_path / "ckpt").glob("model_epoch_*")) == [
        "model_epoch_0002.pt",
        "model_epoch_0004.pt",
    ]
    for epoch in 2, 4:
        assert_equal(saved(tmp_path, f"model_epoch_{epoch:04d}.pt"), at[epoch])


def scored(run, scores):
    """Give the validations of a run these scores."""
    left = iter(scores)

    def force(evaluator):
        evaluator.state.metrics["val_mean_dice"] = next(left)

    run.evaluator._event_handlers[Events.EPOCH_COMPLETED].insert(1, (force, (run.evaluator,), {}))
    return run


def kept(folder):
    return sorted(path.name for path in (folder / "ckpt").glob("model_best_*"))


def test_the_best_weights_are_kept(make_run, tmp_path):
    run, at = scored(make_run(epochs=5, keep_best=2), [0.5, 0.3, 0.4, 0.2, 0.9]), {}

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def keep(engine):
        at[engine.state.epoch] = {k: v.clone() for k, v in run.network.state_dict().items()}

    run.trainer.run()
    assert kept(tmp_path) == ["model_best_0001.pt", "model_best_0005.pt"]
    for epoch in 1, 5:
        assert_equal(saved(tmp_path, f"model_best_{epoch:04d}.pt"), at[epoch])


def test_a_resumed_run_knows_what_it_kept(make_run, tmp_path):
    scored(make_run(epochs=3, keep_best=2), [0.5, 0.8, 0.6]).trainer.run()
    assert kept(tmp_path) == ["model_best_0002.pt", "model_best_0003.pt"]
    scored(make_run(epochs=5, keep_best=2, resume=True), [0.55, 0.7]).trainer.run()
    assert kept(tmp_path) == ["model_best_0002.pt", "model_best_0005.pt"]


def test_by_default_the_best_alone_is_kept(make_run, tmp_path):
    make_run(epochs=2).trainer.run()
    assert kept(tmp_path) == []
