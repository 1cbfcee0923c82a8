"""The losses of a bundle of segmentation are a list in its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss, TverskyLoss

from flemme_monai.losses import CrossEntropy
from flemme_monai.recipes import make_bundle

TVERSKY = {"_target_": "monai.losses.TverskyLoss", "to_onehot_y": True, "softmax": True}
TERMS = [{"loss": "ce", "weight": 0.5, "class_weights": [0.2, 0.8, 0.5, 0.5]}, {"loss": TVERSKY, "weight": 2.0}]


def loss_of(pair: str, **settings) -> torch.nn.Module:
    """The loss of a bundle's training."""
    files = {Path(path).name: text for path, text in make_bundle(pair).items()}
    config = ConfigParser({**json.loads(files["train.json"]), **settings})
    return config.get_parsed_content("loss")


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a label map of four classes."""
    return torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 1, 8, 8)).float()


@pytest.mark.parametrize("bundle", ["sem_unet", "hsem_unet", "sem_nnunet"])
def test_a_list_with_weights_becomes_a_weighted_sum(bundle, pair):
    loss = loss_of(bundle, loss_terms=TERMS)
    expected = 0.5 * CrossEntropy([0.2, 0.8, 0.5, 0.5])(*pair) + 2 * TverskyLoss(to_onehot_y=True, softmax=True)(*pair)
    torch.testing.assert_close(loss(pair[0], pair[1]), expected)
    assert list(loss.recorded) == ["ce", "TverskyLoss"]


def test_the_default_is_dice_and_cross_entropy(pair):
    expected = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)(*pair)
    assert torch.equal(loss_of("sem_unet")(*pair), expected)
