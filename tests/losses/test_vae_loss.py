"""The loss of a variational auto-encoder equals its formula."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from flemme_monai.losses import VAELoss


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3, 5), (4, 2, 3, 5, 2)])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_is_reconstruction_plus_weighted_divergence_a_value_of_the_image(shape, weight):
    mean, deviation = torch.randn(shape), torch.rand(shape) + 0.1
    image, target = torch.rand(2, 4, 1, 8, 8).unbind(0)
    divergence = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum() / target.numel()
    expected = (image - target).abs().mean() + weight * divergence
    torch.testing.assert_close(VAELoss(torch.nn.L1Loss(), weight)([image, mean, deviation], target), expected)


def test_a_standard_normal_latent_costs_nothing():
    image = torch.rand(2, 1, 4, 4)
    assert VAELoss(torch.nn.MSELoss())([image, torch.zeros(2, 3), torch.ones(2, 3)], image) == 0


def test_the_divergence_weighs_1_unless_set():
    image = torch.zeros(1, 1, 2, 2)
    output = [image, torch.ones(1, 4), torch.ones(1, 4)]  # 1/2 a latent, over 4 values
    assert VAELoss(torch.nn.MSELoss())(output, image).item() == pytest.approx(0.5)


def test_it_does_not_depend_on_the_batch_or_the_number_of_copies():
    mean, deviation, image = torch.randn(1, 4), torch.rand(1, 4) + 0.1, torch.rand(1, 1, 4, 4)
    one = VAELoss(torch.nn.MSELoss())([image, mean, deviation], image)
    five = [t.expand(5, *t.shape[1:]) for t in (image, mean, deviation)]
    torch.testing.assert_close(VAELoss(torch.nn.MSELoss())(five, five[0]), one)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="kl_weight is -1; expected 0 or more"):
        VAELoss(torch.nn.MSELoss(), -1)
