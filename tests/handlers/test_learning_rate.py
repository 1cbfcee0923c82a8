"""The schedule ends where the trainer does, and stays at its floor past its end."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events

from flemme_monai.handlers import LearningRate
from flemme_monai.optim import warmup_schedule

BATCHES = 5


class Training:
    """An engine that steps an optimizer, whose schedule is made for some epochs."""

    def __init__(self, planned: int, floor: float = 0.01, **options) -> None:
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
        self.schedule = warmup_schedule(self.optimizer, planned * BATCHES, floor=floor, **options)
        self.engine = Engine(lambda engine, batch: self.optimizer.step())
        LearningRate(self.schedule).attach(self.engine)
        self.rates = []
        self.engine.add_event_handler(Events.ITERATION_STARTED, self.keep)

    def keep(self) -> None:
        self.rates.append(self.optimizer.param_groups[0]["lr"])

    def run(self, epochs: int) -> list[float]:
        """Run until ``epochs``; the rates of this run."""
        before = len(self.rates)
        self.engine.run(range(BATCHES), max_epochs=epochs)
        return self.rates[before:]


@pytest.mark.parametrize("epochs", [2, 4, 10])
def test_the_schedule_follows_the_trainers_epochs(epochs, caplog):
    caplog.set_level("INFO", "flemme_monai")
    rates = Training(4, warmup_steps=2).run(epochs)
    assert rates == pytest.approx(Training(epochs, warmup_steps=2).run(epochs))
    assert rates[2] == pytest.approx(1.0)
    assert rates[-1] < 0.1
    assert caplog.messages == ([] if epochs == 4 else [f"the learning rate follows the trainer's {epochs} epochs"])


def test_rounds_go_along_the_schedule_and_stay_at_its_floor_which_is_said(caplog):
    caplog.set_level("INFO", "flemme_monai")
    training, whole = Training(4), Training(4).run(4)
    training.run(1)
    caplog.clear()
    for done in (2, 3, 4):
        assert training.run(done) == pytest.approx(whole[(done - 1) * BATCHES : done * BATCHES])
    assert caplog.messages == []
    assert training.run(5) == [0.01] * BATCHES
    assert training.run(6) == [0.01] * BATCHES
    assert caplog.messages == ["the learning rate stays at 0.01 after the 4 epochs of its schedule"] * 2


def test_the_decay_does_not_go_below_the_floor():
    assert min(Training(4, floor=0.2).run(4)) == 0.2
    assert min(Training(4, floor=0.2, decay="linear").run(4)) == 0.2
    with pytest.raises(ValueError, match="floor is 1"):
        Training(4, floor=1)


def test_the_number_of_steps_is_no_part_of_the_saved_schedule():
    short, long = Training(2), Training(4)
    short.run(2)
    long.schedule.load_state_dict(short.schedule.state_dict())
    assert long.schedule.total_steps == 4 * BATCHES
    assert long.schedule.last_epoch == 2 * BATCHES


def test_another_schedule_is_stepped_once_a_batch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    engine = Engine(lambda engine, batch: optimizer.step())
    LearningRate(schedule).attach(engine)
    engine.run(range(3), max_epochs=1)
    assert schedule.get_last_lr() == [0.125]
