"""EDM's preconditioning is Table 1 of Karras et al. 2022."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.diffusion import EDMInferer, EDMPrepareBatch, Preconditioning

SIGMAS = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0])


def test_the_factors_are_the_paper_s():
    factors, d = Preconditioning(0.4), 0.4
    root = (SIGMAS**2 + d**2).sqrt()
    torch.testing.assert_close(factors.c_skip(SIGMAS), d**2 / (SIGMAS**2 + d**2))
    torch.testing.assert_close(factors.c_out(SIGMAS), SIGMAS * d / root)
    torch.testing.assert_close(factors.c_in(SIGMAS), 1 / root)
    torch.testing.assert_close(factors.c_noise(SIGMAS), 0.25 * SIGMAS.log())
    torch.testing.assert_close(factors.weight(SIGMAS), (SIGMAS**2 + d**2) / (SIGMAS * d) ** 2)
    torch.testing.assert_close(factors.weight(SIGMAS), 1 / factors.c_out(SIGMAS) ** 2)


def test_inputs_and_targets_have_unit_variance_at_every_noise_level():
    factors, image, noise = Preconditioning(0.5), 0.5 * torch.randn(20000), torch.randn(20000)
    for sigma in SIGMAS:
        noisy = image + sigma * noise
        assert (factors.c_in(sigma) * noisy).std().item() == pytest.approx(1, rel=0.03)
        target = (image - factors.c_skip(sigma) * noisy) / factors.c_out(sigma)
        assert target.std().item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
def test_a_network_that_gives_0_has_a_loss_of_1(sigma):
    factors, prepare = Preconditioning(0.5), EDMPrepareBatch(mean=torch.tensor(sigma).log().item(), std=0.0)

    def denoiser(x, timesteps, context=None):
        return factors.c_skip(timesteps).view(-1, 1, 1, 1) * x

    images, target, _, step = prepare({"image": 0.5 * torch.randn(16, 1, 32, 32)})
    loss = torch.nn.functional.mse_loss(EDMInferer()(images, denoiser, **step), target)
    assert loss.item() == pytest.approx(1, rel=0.05)


def test_it_can_be_scripted():
    class Denoiser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factors = Preconditioning()

        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return self.factors.c_skip(sigma) * x + self.factors.c_out(sigma) * self.factors.c_noise(sigma)

    module = Denoiser()
    assert torch.equal(torch.jit.script(module)(SIGMAS, SIGMAS), module(SIGMAS, SIGMAS))


def test_images_without_deviation_are_refused():
    with pytest.raises(ValueError, match="sigma_data is 0"):
        Preconditioning(0)
