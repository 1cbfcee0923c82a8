"""A latent diffusion model that is trained together with its autoencoder: what moves what, and the scale of latents."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from flemme_monai.architectures import LDM, VAE
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.diffusion import JointInferer, make_prepare_batch, make_scheduler, make_training_inferer
from flemme_monai.diffusion.joint import follow_scale
from flemme_monai.losses import JointLoss, VAELoss, pyramid_loss
from tests.networks import backbone

TIME = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)
CLASS = ConditioningConfig(context="class", context_size=3, channels=8)
IMAGES = torch.linspace(-1, 1, 1024).view(4, 1, 16, 16)
CLASSES = torch.tensor([0, 1, 2, 0])


def model(variational: bool = True, conditioning: ConditioningConfig | None = None, **settings) -> LDM:
    torch.manual_seed(0)
    autoencoder = VAE(backbone("CNN", 2, 1, 1, conditioning=conditioning), latent_channels=2, variational=variational)
    denoiser = backbone("CNN", 2, 2, 2, patch_size=1, strides=1, conditioning=TIME)
    return LDM(denoiser, autoencoder=autoencoder, **settings)


def inferer(edm: bool = True, seed: int | None = None) -> JointInferer:
    schedule = None if edm else make_scheduler("ddpm", 50, prediction_type="v_prediction")
    return JointInferer(make_prepare_batch(schedule, seed=seed), make_training_inferer(schedule))


def moved(network: LDM, loss: torch.Tensor) -> set[str]:
    """Which halves a loss has a gradient for."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    return {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("edm", [True, False])
@pytest.mark.parametrize("variational", [True, False])
def test_each_half_is_moved_by_its_own_loss(edm, variational):
    network = model(variational, sigma_data=1.0 if edm else None).train()
    output = inferer(edm)(IMAGES, network, condition=CLASSES)
    autoencoding, denoising = VAELoss(nn.MSELoss(), 0.1), nn.MSELoss()
    _, reconstruction, target, prediction = output
    assert len(reconstruction) == (3 if variational else 1)
    assert moved(network, autoencoding(reconstruction, IMAGES)) == {"autoencoder"}
    assert moved(network, denoising(prediction, target)) == {"backbone"}
    both = JointLoss(autoencoding, denoising)
    assert moved(network, both(output, IMAGES)) == {"autoencoder", "backbone"}


def test_the_loss_is_the_sum_of_both_and_says_each():
    network = model(sigma_data=1.0, fusion="cat").train()
    output = inferer()(IMAGES, network, condition=CLASSES)
    denoising = pyramid_loss(nn.MSELoss(), network.num_levels, "area")
    autoencoding = VAELoss(nn.MSELoss(), 0.1)
    loss = JointLoss(autoencoding, denoising)
    expected = autoencoding(output[1], IMAGES) + denoising(output[3], output[2])
    torch.testing.assert_close(loss(output, IMAGES), expected)
    assert set(loss.recorded) == {"reconstruction", "divergence"}
    plain = JointLoss(autoencoding, nn.MSELoss())
    total = plain([output[0], output[1], output[2], output[2] + 2], IMAGES)
    assert plain.recorded["latent_denoising"] == pytest.approx(4, rel=1e-5)
    torch.testing.assert_close(torch.stack(list(plain.recorded.values())).sum(), total)


def test_steps_of_training_move_both_halves_and_lower_both_losses():
    network, step = model(variational=False, sigma_data=1.0).train(), inferer()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    loss = JointLoss(VAELoss(nn.MSELoss()), nn.MSELoss())
    optimizer, found = torch.optim.Adam(network.parameters(), 3e-3), []
    for _ in range(60):
        optimizer.zero_grad()
        loss(step(IMAGES, network, condition=CLASSES), IMAGES).backward()
        optimizer.step()
        found.append((loss.recorded["reconstruction"].item(), loss.recorded["latent_denoising"].item()))
    changed = {name.partition(".")[0] for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"autoencoder", "backbone"}
    early, late = (torch.tensor(part).mean(0) for part in (found[:10], found[-10:]))
    assert (late < early).all()


def test_the_scale_follows_the_latents():
    factor, latents = torch.zeros(()), 3.0 * torch.randn(8, 2, 64, 64)
    follow_scale(factor, latents)
    assert factor.item() == pytest.approx(1 / 3, rel=0.01)  # at once from 0
    follow_scale(factor, 2 * latents)
    assert factor.item() == pytest.approx(1 / math.sqrt(0.9 * 9 + 0.1 * 36), rel=0.01)
    for _ in range(200):
        follow_scale(factor, 0.5 * latents)
    assert factor.item() == pytest.approx(1 / 1.5, rel=0.01)
    follow_scale(factor, 0 * latents)
    assert factor.isfinite()


def test_latents_of_training_get_unit_deviation_and_validation_leaves_the_scale():
    network, step = model(sigma_data=1.0), inferer()
    step(IMAGES, network.train(), condition=CLASSES)
    factor = network.scale_factor.clone()
    latents = network.autoencoder.encode_stage_2_inputs(IMAGES)
    assert (latents * factor).std().item() == pytest.approx(1, rel=0.3)
    step(3 * IMAGES, network.eval(), condition=CLASSES)
    assert network.scale_factor == factor


def test_validation_decodes_the_denoised_latents_and_repeats():
    network = model(sigma_data=1.0).eval()
    network.scale_factor.fill_(2.0)

    class Perfect(nn.Module):
        """Says each latent as it is."""

        autoencoder, backbone, scale_factor = network.autoencoder, network.backbone, network.scale_factor

        def forward(self, x, timesteps, context):
            return network.autoencoder.encode(IMAGES)[0] * 2.0

    found = inferer(seed=1)(IMAGES, Perfect().eval(), condition=CLASSES)
    torch.testing.assert_close(found, network.autoencoder.reconstruct(IMAGES), atol=1e-4, rtol=1e-4)
    first, again = (inferer(seed=1)(IMAGES, network, condition=CLASSES) for _ in range(2))
    assert torch.equal(first, again)
    alone = inferer(seed=1)(IMAGES[1:2], network, condition=CLASSES[1:2])
    torch.testing.assert_close(alone, first[1:2], atol=1e-4, rtol=1e-4)


def test_the_class_reaches_a_conditional_autoencoder():
    network = model(False, CLASS, sigma_data=1.0).eval()
    network.scale_factor.fill_(1.0)
    for parameter in network.autoencoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    one, other = (inferer(seed=1)(IMAGES, network, condition=c) for c in (CLASSES, (CLASSES + 1) % 3))
    assert not torch.allclose(one, other)


def test_a_network_without_an_autoencoder_is_refused():
    denoiser = LDM(backbone("CNN", 2, 2, 2, patch_size=1, strides=1, conditioning=TIME))
    with pytest.raises(ValueError, match="the network has no autoencoder; expected one inside of it"):
        inferer()(IMAGES, denoiser, condition=CLASSES)


def test_the_weights_hold_both_halves_and_the_config_makes_them_again():
    from flemme_monai.utils.network_config import build_network, config_of

    network = model(False, sigma_data=1.0)
    again = build_network(config_of(network))
    again.load_state_dict(network.state_dict())
    assert not again.autoencoder.variational
    assert {name.partition(".")[0] for name in network.state_dict()} == {"autoencoder", "backbone", "scale_factor"}
