"""Batches of auto-encoding: the image is what comes in and what should come out."""

from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer

from flemme_monai.architectures import VAE
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.data import AutoencodingPrepareBatch
from flemme_monai.losses import VAELoss
from tests.networks import backbone


def batch() -> dict[str, torch.Tensor]:
    return {"image": torch.rand(4, 1, 16, 16), "class_label": torch.tensor([0, 1, 2, 0])}


def test_the_image_is_its_own_target():
    data = batch()
    image, target, args, kwargs = AutoencodingPrepareBatch()(data)
    assert image is target
    assert torch.equal(image, data["image"])
    assert (args, kwargs) == ((), {})


def test_the_condition_is_the_network_s_context():
    data = batch()
    kwargs = AutoencodingPrepareBatch("class_label")(data)[3]
    assert set(kwargs) == {"context"}
    assert torch.equal(kwargs["context"], data["class_label"])


@pytest.mark.parametrize("key", ["image", "class_label"])
def test_a_batch_without_a_key_is_refused(key):
    data = batch()
    del data[key]
    with pytest.raises(ValueError, match=f"a batch has no '{key}', only "):
        AutoencodingPrepareBatch("class_label")(data)


def test_a_conditional_vae_trains_in_monai_s_engine():
    conditioning = ConditioningConfig(context="class", context_size=3, channels=8)
    net = VAE(backbone("CNN", 2, 1, 1, conditioning=conditioning))
    before = net.to_moments.weight.clone()
    SupervisedTrainer(
        "cpu",
        1,
        [batch(), batch()],
        net,
        torch.optim.Adam(net.parameters()),
        VAELoss(torch.nn.MSELoss()),
        prepare_batch=AutoencodingPrepareBatch("class_label"),
        decollate=False,
    ).run()
    assert not torch.equal(net.to_moments.weight, before)
