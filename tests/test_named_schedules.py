"""Schedules of the learning rate by name."""

from __future__ import annotations

import io

import pytest
import torch
from ignite.engine import Engine, Events

from flemme_monai.handlers import LearningRate, StopAfterSteps
from flemme_monai.named_schedules import NamedSchedule, schedule_names
from flemme_monai.optim import run_length, warmup_schedule

BATCHES = 4
NEEDED = {"StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [2, 4]}, "ExponentialLR": {"gamma": 0.5}}
NEEDED |= {"CosineAnnealingWarmRestarts": {"T_0": 2}}


def optimizer_of(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate)


def rates(name: str, epochs: int, warmup: int = 0, **options) -> list[float]:
    """The rate of each batch."""
    optimizer = optimizer_of()
    steps = epochs * BATCHES
    schedule = warmup_schedule(optimizer, steps, warmup, name, steps_per_epoch=BATCHES, options=options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_schedule_of_epochs_goes_on_once_an_epoch_after_the_warm_up():
    found = rates("StepLR", 4, warmup=BATCHES, step_size=1, gamma=0.1)
    assert found[:BATCHES] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert found[BATCHES::BATCHES] == pytest.approx([1.0, 0.1, 0.01])
    assert found[BATCHES : 2 * BATCHES] == [1.0] * BATCHES


def test_a_cycle_goes_on_with_every_batch_and_ends_with_the_run():
    found = rates("one_cycle", 5)
    assert max(found) == pytest.approx(1.0, abs=0.01)
    assert found[0] == pytest.approx(1 / 25)  # OneCycleLR's div_factor
    assert found[-1] < 0.02
    assert found.index(max(found)) == pytest.approx(0.3 * len(found), abs=1)  # its pct_start


@pytest.mark.parametrize(("name", "last"), [("LinearLR", 0.1), ("CosineAnnealingLR", 0.0), ("PolynomialLR", 0.0)])
def test_lengths_are_the_runs(name, last):
    options = {"start_factor": 1.0, "end_factor": 0.1} if name == "LinearLR" else {}
    found = rates(name, 6, **options)[::BATCHES]
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert found[-1] - last < 0.2


@pytest.mark.parametrize("name", schedule_names())
def test_every_schedule_of_numbers_runs_and_its_state_loads_with_weights_only(name):
    options = NEEDED.get(name, {})
    optimizer, other = optimizer_of(), optimizer_of()
    schedule = NamedSchedule(optimizer, name, 5 * BATCHES, 2, BATCHES, options)
    again = NamedSchedule(other, name, 5 * BATCHES, 2, BATCHES, options)
    for _ in range(2 * BATCHES):
        optimizer.step()
        schedule.step()
    file = io.BytesIO()
    torch.save([schedule.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    state, of_optimizer = torch.load(file, weights_only=True)
    again.load_state_dict(state)
    other.load_state_dict(of_optimizer)
    for _ in range(2 * BATCHES):
        for one, two in ((optimizer, schedule), (other, again)):
            one.step()
            two.step()
    assert again.get_last_lr() == schedule.get_last_lr()


class Evaluated:
    """An evaluator whose key metric is what the test says."""

    def __init__(self, values: list[float], more_is_better: bool = True) -> None:
        self.engine = Engine(lambda engine, batch: None)
        self.engine.state.key_metric_name = "dice"
        self.engine.metric_cmp_fn = (lambda a, b: a > b) if more_is_better else (lambda a, b: a < b)
        self.values = values

    def run(self) -> None:
        self.engine.state.metrics = {"dice": self.values.pop(0)}
        self.engine.fire_event(Events.COMPLETED)


@pytest.mark.parametrize(("values", "better"), [([0.1, 0.5, 0.5, 0.4], True), ([0.9, 0.5, 0.5, 0.6], False)])
def test_a_plateau_is_one_of_the_key_metric(values, better):
    evaluated = Evaluated(list(values), better)
    optimizer = optimizer_of()
    schedule = warmup_schedule(optimizer, 100, 0, "plateau", steps_per_epoch=1, options={"patience": 1, "factor": 0.5})
    engine = Engine(lambda engine, batch: optimizer.step())
    LearningRate(schedule, evaluated.engine).attach(engine)
    found = []
    for epoch in range(4):
        engine.run(range(1), max_epochs=epoch + 1)
        evaluated.run()
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [1.0, 1.0, 1.0, 0.5]  # two validations without a better one


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLr", {}, "did you mean StepLR"),
        ("LambdaLR", {}, "expected cosine, linear, plateau"),
        ("StepLR", {}, "StepLR: .*step_size"),
        ("StepLR", {"size": 2}, "no option 'size'; did you mean step_size"),
        ("plateau", {"mode": "max"}, "no option 'mode'"),
        ("cosine", {"gamma": 0.1}, "it takes floor alone"),
    ],
)
def test_what_is_no_schedule_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        warmup_schedule(optimizer_of(), 10, 0, name, options=options)


def test_a_run_of_steps_ends_in_the_midst_of_an_epoch_whose_end_is_seen():
    optimizer = optimizer_of()
    schedule = warmup_schedule(optimizer, 10, 0)
    engine = Engine(lambda engine, batch: optimizer.step())
    LearningRate(schedule).attach(engine)
    StopAfterSteps(10).attach(engine)
    ends = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: ends.append(engine.state.iteration))
    engine.run(range(BATCHES), max_epochs=run_length(40, 10, BATCHES))
    assert ends == [4, 8, 10]
    assert schedule.last_epoch == 10
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_length_of_a_run():
    assert run_length(40, None, 7) == 40
    assert [run_length(40, steps, 7) for steps in (1, 7, 8)] == [1, 1, 2]
    with pytest.raises(ValueError, match="max_steps is 0"):
        run_length(40, 0, 7)
