"""What a training iteration leaves is read alike, whether the engine decollates its batches or not."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.handlers.training_output import batch_loss, pred_and_label

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
