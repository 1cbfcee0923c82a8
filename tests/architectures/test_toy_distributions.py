"""Each generative architecture learns images of two pixels that have two modes, through MONAI's engines."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import DiffusionInferer, SimpleInferer
from torch import nn
from torch.utils.data import DataLoader

from flemme_monai.architectures import DDPM, EDM, LDM, SDM, VAE
from flemme_monai.backbones import CNN, ConditioningConfig, ConvFamily, EncoderDecoder, UNet
from flemme_monai.data import AutoencodingPrepareBatch
from flemme_monai.diffusion import (
    AveragedInferer,
    EDMInferer,
    EDMPrepareBatch,
    HeunSampler,
    InitialNoise,
    JointInferer,
    LatentSpace,
    SamplingInferer,
    SchedulerPrepareBatch,
    SchedulerSampler,
    make_prepare_batch,
    make_sampler,
    make_scheduler,
    make_training_inferer,
)
from flemme_monai.inferers import DecodingInferer
from flemme_monai.losses import JointLoss, VAELoss

MODES, SHARES, SPREAD = torch.tensor([[-0.6, 0.6], [0.6, -0.6]]), torch.tensor([0.3, 0.7]), 0.1
SCHEDULE = {"num_train_timesteps": 100, "schedule": "cosine", "prediction_type": "v_prediction", "clip_sample": False}
SIGMA_DATA = 0.6
KL_WEIGHT = 2 * SPREAD**2  # of a Gaussian likelihood whose deviation is the modes'


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    """Images (B, 1, 1, 2), their modes, and degraded images that tell them: 0.2 or 0.8 everywhere."""
    made = []
    for _ in range(count):
        mode = torch.multinomial(SHARES, 128, replacement=True)
        image = (MODES[mode] + SPREAD * torch.randn(128, 2)).view(128, 1, 1, 2)
        degraded = (0.2 + 0.6 * mode.float()).view(128, 1, 1, 1).expand(128, 1, 1, 2)
        made.append({"image": image, "mode": mode, "degraded": degraded})
    return made


def backbone(cls: type[EncoderDecoder], conditioning: ConditioningConfig | None = None) -> EncoderDecoder:
    """Two stages at the full size of two pixels."""
    family = ConvFamily(norm=None, act="gelu")
    size = {"patch_size": 1, "patch_channels": 32, "channels": (32,), "middle_channels": (32,), "num_blocks": 1}
    return cls(2, 1, 1, family, **size, strides=1, conditioning=conditioning)


TIME = ConditioningConfig(timesteps=True, channels=32)


def train(network, loss, steps, prepare, inferer, rate=5e-3):
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    trainer = SupervisedTrainer(
        "cpu", 1, batches(steps), network, optimizer, loss, prepare_batch=prepare, inferer=inferer, decollate=False
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: schedule.step())
    trainer.run()


def generate(network, inferer, count=1000, shape=(1, 1, 2)):
    """Samples (count, 2)."""
    noises = DataLoader(InitialNoise(count, shape), batch_size=count)
    evaluator = SupervisedEvaluator("cpu", noises, network, inferer=inferer, decollate=False)
    evaluator.run()
    return evaluator.state.output["pred"].flatten(1)


def learn_vae(steps: int, kl_weight: float = KL_WEIGHT, **latent) -> VAE:
    network = VAE(backbone(CNN), **latent)
    train(network, VAELoss(nn.MSELoss(), kl_weight), steps, AutoencodingPrepareBatch(), SimpleInferer())
    return network


def vae(steps: int) -> torch.Tensor:
    network = learn_vae(steps, 5 * KL_WEIGHT, latent_size=1, image_size=(1, 2))
    return generate(network, DecodingInferer(), shape=(1,))


def ddpm(steps: int) -> torch.Tensor:
    network, scheduler = DDPM(backbone(UNet, TIME)), make_scheduler("ddpm", **SCHEDULE)
    train(network, nn.MSELoss(), steps, SchedulerPrepareBatch(scheduler), DiffusionInferer(scheduler))
    return generate(network, SamplingInferer(SchedulerSampler(make_scheduler("ddim", **SCHEDULE), 25)))


def edm(steps: int) -> torch.Tensor:
    network = EDM(backbone(UNet, TIME), sigma_data=SIGMA_DATA)
    train(network, nn.MSELoss(), steps, EDMPrepareBatch(sigma_data=SIGMA_DATA), EDMInferer())
    return generate(network, SamplingInferer(HeunSampler(18)))


def ldm(steps: int) -> torch.Tensor:
    network, scheduler = LDM(backbone(UNet, TIME)), make_scheduler("ddpm", **SCHEDULE)
    space = LatentSpace(learn_vae(steps, latent_channels=1), network)
    space.fit_scale(batches(4))
    prepare = SchedulerPrepareBatch(scheduler, latents=space.encode)
    train(network, nn.MSELoss(), steps, prepare, DiffusionInferer(scheduler))
    sampler = SchedulerSampler(make_scheduler("ddim", **SCHEDULE), 25)
    return generate(network, SamplingInferer(sampler, decode=space.decode))


def joint(steps: int) -> torch.Tensor:
    """A plain autoencoder and an EDM of its latents, in one training."""
    autoencoder = VAE(backbone(CNN), latent_channels=1, variational=False)
    network = LDM(backbone(UNet, TIME), sigma_data=1.0, autoencoder=autoencoder)
    loss = JointLoss(VAELoss(nn.MSELoss()), nn.MSELoss())
    train(network, loss, steps, AutoencodingPrepareBatch(), JointInferer(make_prepare_batch(), make_training_inferer()))
    space = LatentSpace(autoencoder, network)
    return generate(network, SamplingInferer(make_sampler(num_inference_steps=18), decode=space.decode))


def sdm(steps: int) -> torch.Tensor:
    """Mean and spread (2, 2, 2), in -1..1, of samples under the degraded image of each mode."""
    conditioning = ConditioningConfig(timesteps=True, context="image", context_size=1, channels=32)
    network, scheduler = SDM(backbone(UNet, conditioning)), make_scheduler("ddpm", **SCHEDULE)
    prepare = SchedulerPrepareBatch(scheduler, condition_key="degraded")
    train(network, nn.MSELoss(), steps, prepare, DiffusionInferer(scheduler))
    degraded = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 1, 1, 2)
    sampler = SchedulerSampler(make_scheduler("ddim", **SCHEDULE), 10)
    mean, spread = AveragedInferer(sampler, num_samples=48)(degraded, network.eval()).chunk(2, 1)
    return torch.stack([2 * mean.flatten(1) - 1, 2 * spread.flatten(1)])


@pytest.mark.parametrize(("architecture", "steps"), [(ddpm, 400), (edm, 700), (ldm, 400), (joint, 700)])
def test_modes_have_their_shares_and_samples_are_as_far_from_them_as_images(architecture, steps):
    distance, nearest = torch.cdist(architecture(steps), MODES).min(1)
    torch.testing.assert_close(torch.bincount(nearest, minlength=2) / 1000, SHARES, rtol=0, atol=0.1)
    # in two dimensions the mean distance from a mode is sqrt(pi / 2) of the spread
    assert distance.mean().item() == pytest.approx(1.25 * SPREAD, rel=0.35)
    assert (distance > 5 * SPREAD).float().mean() < 0.06


def test_a_vae_has_both_modes_and_a_bridge_between_them():
    """Its decoder is continuous and its prior has one mode. One Gaussian would have about half its samples between."""
    distance, nearest = torch.cdist(vae(600), MODES).min(1)
    torch.testing.assert_close(torch.bincount(nearest, minlength=2) / 1000, SHARES, rtol=0, atol=0.17)
    assert (distance > 5 * SPREAD).float().mean() < 0.3
    assert distance.median() < 2 * SPREAD


def test_a_degraded_image_decides_on_the_mode():
    mean, spread = sdm(300)
    torch.testing.assert_close(mean, MODES, rtol=0, atol=0.08)
    assert (spread > 0.2 * SPREAD).all()
    assert (spread < 2 * SPREAD).all()


@pytest.mark.parametrize("architecture", [vae, ddpm, edm, ldm, sdm])
def test_a_seed_repeats_training_and_sampling_exactly(architecture):
    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return architecture(3)

    first = run(1)
    assert first.isfinite().all()
    assert torch.equal(run(1), first)
    assert not torch.equal(run(2), first)
