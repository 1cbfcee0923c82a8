"""A variational auto-encoder makes images of latents."""

from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch.utils.data import DataLoader

from flemme_monai.architectures import VAE
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.diffusion import InitialNoise
from flemme_monai.inferers import DecodingInferer
from tests.networks import backbone

CLASS = ConditioningConfig(context="class", context_size=3, channels=8)


@pytest.mark.parametrize("settings", [{}, {"latent_size": 4, "image_size": (16, 16)}])
def test_latents_are_decoded(settings):
    net = VAE(backbone("CNN", 2, 1, 1), **settings).eval()
    z = torch.randn(3, 4) if settings else torch.randn(3, 4, 2, 2)
    images = DecodingInferer()(z, net)
    assert images.shape == (3, 1, 16, 16)
    assert torch.equal(images, net.decode(z))


def test_they_are_decoded_under_the_condition():
    net, z, label = VAE(backbone("CNN", 2, 1, 1, conditioning=CLASS)).eval(), torch.randn(3, 4, 2, 2), torch.arange(3)
    assert torch.equal(DecodingInferer()(z, net, condition=label), net.decode(z, label))
    with pytest.raises(ValueError, match="needs them at every call"):
        DecodingInferer()(z, net)


def test_an_evaluator_draws_from_the_prior_and_the_seed_decides():
    net = VAE(backbone("CNN", 2, 1, 1)).eval()

    def draw(seed: int) -> torch.Tensor:
        noises = DataLoader(InitialNoise(3, (4, 2, 2), seed=seed), batch_size=3)
        evaluator = SupervisedEvaluator("cpu", noises, net, inferer=DecodingInferer(), decollate=False)
        evaluator.run()
        return evaluator.state.output["pred"]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
