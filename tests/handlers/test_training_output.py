"""What a training iteration leaves is read alike, whether the engine decollates its batches or not."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

from flemme_monai.handlers import LogitMetric
from flemme_monai.handlers.training_output import batch_loss, pred_and_label
from flemme_monai.metrics import BinaryCrossEntropy

PRED = torch.tensor([[1.0, 3.0], [5.0, 2.0]]).view(2, 2, 1, 1).requires_grad_()
LABEL = torch.tensor([[1.0], [0.0]]).view(2, 1, 1, 1)
WHOLE = {"image": torch.zeros(2, 1, 1, 1), "pred": PRED, "label": LABEL, "loss": torch.tensor(0.25)}
EACH = [{key: value if key == "loss" else value[i] for key, value in WHOLE.items()} for i in range(2)]


@pytest.mark.parametrize("output", [WHOLE, EACH], ids=["whole", "decollated"])
def test_loss_prediction_and_label(output):
    assert batch_loss(output) == (0.25, 2)
    pred, label = pred_and_label()(output)
    assert torch.equal(pred, PRED)
    assert not pred.requires_grad
    assert torch.equal(label, LABEL)
    classes, _ = pred_and_label(argmax=True)(output)
    assert classes.tolist() == LABEL.tolist()


def test_labels_of_whole_images_are_numbers():
    output = [{"pred": torch.zeros(3), "label": label} for label in (2, torch.tensor(1))]
    assert pred_and_label()(output)[1].tolist() == [2, 1]


def test_a_metric_of_logits_is_not_changed_by_postprocessing():
    def iteration(engine, batch):
        engine.state.output = dict(batch)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.state.output["pred"] = torch.full_like(batch["pred"], torch.nan)  # as masks would be other numbers
        return engine.state.output

    engine = Engine(iteration)
    engine.register_events(*IterationEvents)
    LogitMetric(BinaryCrossEntropy()).attach(engine, "bce")
    engine.run([{"pred": torch.zeros(2, 1, 4, 4), "label": torch.ones(2, 1, 4, 4)}], max_epochs=1)
    assert engine.state.metrics["bce"] == pytest.approx(math.log(2))
    assert engine.state.metric_details["bce"].shape == (2, 1)
