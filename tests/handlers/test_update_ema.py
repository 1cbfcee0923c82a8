"""The average of the weights moves with the optimizer."""

from __future__ import annotations

import pytest
import torch
from ignite.handlers import EMAHandler
from monai.engines import SupervisedTrainer

from flemme_monai.handlers import UpdateEMA


@pytest.mark.parametrize(("accumulation_steps", "expected"), [(1, 0.570), (4, 0.190), (8, 0.1), (3, 0.271)])
def test_accumulated_batches_move_it_once(accumulation_steps, expected):
    """From an average of 0 to weights of 1: after n steps 1 - (1 - momentum)^n."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    ema = EMAHandler(network, momentum=0.1)
    torch.nn.init.ones_(network.weight)
    trainer = SupervisedTrainer(
        "cpu",
        1,
        torch.utils.data.DataLoader([{"image": torch.ones(1), "label": torch.ones(1)}] * 8),
        network,
        torch.optim.SGD(network.parameters(), 0.0),
        torch.nn.MSELoss(),
        train_handlers=[UpdateEMA(ema)],
        accumulation_steps=accumulation_steps,
    )
    trainer.run()
    assert ema.ema_model.weight.item() == pytest.approx(expected, abs=5e-4)
