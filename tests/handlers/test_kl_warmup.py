"""The weight of a VAE's divergence grows with the iterations."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events

from flemme_monai.handlers import KLWarmup
from flemme_monai.losses import VAELoss


def weights(epochs: float, max_epochs: int = 4, resumed_at: int = 0) -> list[float]:
    """The weight at each of five iterations an epoch."""
    loss, seen = VAELoss(torch.nn.MSELoss(), kl_weight=0.8), []
    engine = Engine(lambda engine, batch: seen.append(loss.kl_weight))
    KLWarmup(loss, epochs).attach(engine)

    @engine.on(Events.STARTED)
    def resume(engine: Engine) -> None:
        engine.state.epoch, engine.state.iteration = resumed_at, 5 * resumed_at

    engine.run(range(5), max_epochs=max_epochs)
    return seen


def test_it_grows_from_0_in_equal_steps_and_stays():
    assert weights(2) == pytest.approx([0.8 * min(i / 10, 1) for i in range(20)])


def test_it_may_take_a_part_of_an_epoch():
    assert weights(0.4)[:4] == pytest.approx([0, 0.4, 0.8, 0.8])


def test_no_epochs_are_no_warm_up():
    assert weights(0) == [0.8] * 20


def test_a_resumed_run_goes_on_as_an_uninterrupted_one():
    assert weights(3, resumed_at=2) == weights(3)[10:]


def test_a_negative_number_of_epochs_is_refused():
    with pytest.raises(ValueError, match="kl_warmup_epochs is -1; expected 0 or more"):
        KLWarmup(VAELoss(torch.nn.MSELoss()), -1)
