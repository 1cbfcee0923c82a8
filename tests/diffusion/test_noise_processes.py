"""Either process of noise trains and samples; in latents that are the images it is the process of images."""

from __future__ import annotations

import math

import pytest
import torch
from monai.inferers import DiffusionInferer
from torch import nn

from flemme_monai.architectures import EDM, LDM, SDM, VAE, DSeM
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.diffusion import (
    EDMInferer,
    EDMPrepareBatch,
    HeunSampler,
    LatentSpace,
    SamplingInferer,
    SchedulerPrepareBatch,
    SchedulerSampler,
    is_edm,
    make_prepare_batch,
    make_sampler,
    make_scheduler,
    make_training_inferer,
)
from tests.networks import backbone

TIME = ConditioningConfig(timesteps=True, channels=8)
UNDER_IMAGE = ConditioningConfig(timesteps=True, context="image", context_size=1, channels=8)
CLASS = ConditioningConfig(context="class", context_size=3, channels=8)


def latent_backbone():
    return backbone("CNN", 2, 1, 1, patch_size=1, strides=1, conditioning=TIME)


class Identity(nn.Module):
    """An autoencoder whose latents are the images."""

    latent_channels = 1

    def encode(self, images):
        return images, torch.zeros_like(images)

    def encode_stage_2_inputs(self, images):
        return images

    def decode_stage_2_outputs(self, latents):
        return latents


def filled(network: nn.Module) -> None:
    """Give a network weights none of which are 0, as some are at first."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def twins(sigma_data: float) -> tuple[EDM, LDM]:
    """Denoisers of images and of latents with the same weights, none of them 0."""
    image, latent = EDM(latent_backbone(), sigma_data=sigma_data), LDM(latent_backbone(), sigma_data=sigma_data)
    filled(image)
    latent.load_state_dict({**image.state_dict(), "scale_factor": torch.ones(())})
    return image.eval(), latent.eval()


def test_a_name_stands_for_each_process():
    assert (is_edm("schedule"), is_edm("edm")) == (False, True)
    with pytest.raises(ValueError, match="noise_process is 'ddpm'; expected one of schedule, edm"):
        is_edm("ddpm")


def test_a_schedule_or_none_decides_on_all_parts():
    schedule = make_scheduler("ddpm", 50)
    assert type(make_prepare_batch(schedule)) is SchedulerPrepareBatch
    assert type(make_training_inferer(schedule)) is DiffusionInferer
    assert type(make_sampler(schedule, 4)) is SchedulerSampler
    assert type(make_prepare_batch()) is EDMPrepareBatch
    assert type(make_training_inferer()) is EDMInferer
    sampler = make_sampler(num_inference_steps=4, sigma_max=10.0, s_churn=2.0)
    assert (type(sampler), sampler.sigmas[0], len(sampler.sigmas)) == (HeunSampler, pytest.approx(10.0), 5)
    assert sampler.sigma_hats == HeunSampler(4, sigma_max=10.0, s_churn=2.0).sigma_hats


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 2.0])
def test_the_mean_noise_of_edm_is_that_of_the_paper_beside_the_deviation_of_the_data(sigma_data):
    prepare = make_prepare_batch(sigma_data=sigma_data)
    assert prepare.mean == pytest.approx(-1.2 + math.log(sigma_data / 0.5))
    assert make_prepare_batch(sigma_data=sigma_data, mean=-1.0).mean == -1.0


@pytest.mark.parametrize("architecture", [SDM, DSeM, LDM])
def test_a_denoiser_with_sigma_data_is_an_edm(architecture):
    conditioning = TIME if architecture is LDM else UNDER_IMAGE
    settings = {"patch_size": 1, "strides": 1, "conditioning": conditioning}
    net = architecture(backbone("CNN", 2, 2, 2, **settings), sigma_data=0.4).eval()
    x, sigma = torch.randn(2, 2, 8, 8), torch.tensor([0.4, 1.2])
    context = () if architecture is LDM else (torch.randn(2, 1, 8, 8),)
    # its last layer gives 0 at first: c_skip x, c_skip = sigma_data² / (sigma² + sigma_data²) is 1/2 and 1/10
    torch.testing.assert_close(net(x, sigma, *context), x * torch.tensor([0.5, 0.1]).view(2, 1, 1, 1))
    plain = architecture(backbone("CNN", 2, 2, 2, **settings)).eval()
    assert plain.state_dict().keys() == net.state_dict().keys()
    assert not plain(x, sigma, *context).any()


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_in_latents_that_are_the_images_is_edm_of_images(sigma_data):
    image, latent = twins(sigma_data)
    space = LatentSpace(Identity(), latent)
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.02, 0.5, 20.0])
    assert torch.equal(latent(x, sigma), image(x, sigma))
    of_images = make_prepare_batch(sigma_data=sigma_data, seed=3)
    of_latents = make_prepare_batch(sigma_data=sigma_data, seed=3, latents=space.encode)
    (_, target, _, step), (_, other, _, same) = of_images({"image": x}), of_latents({"image": x})
    assert torch.equal(target, other)
    assert all(torch.equal(step[name], same[name]) for name in step)
    assert torch.equal(EDMInferer()(x, image, **step), EDMInferer()(x, latent, **same))
    noise, sampler = torch.randn(2, 1, 8, 8), make_sampler(num_inference_steps=3)
    samples = SamplingInferer(sampler)(noise, image)
    assert torch.equal(SamplingInferer(sampler, decode=space.decode)(noise, latent), samples)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample", "edm"])
def test_a_right_prediction_says_the_image_and_a_wrong_one_how_far_off_it_is(prediction_type):
    edm = prediction_type == "edm"
    schedule = None if edm else make_scheduler("ddpm", 50, prediction_type=prediction_type, clip_sample=False)
    prepare, images = make_prepare_batch(schedule, seed=0), torch.randn(4, 1, 8, 8)
    _, target, _, step = prepare({"image": images})
    torch.testing.assert_close(prepare.denoised(images, target, target, step), images, atol=1e-5, rtol=1e-5)
    wrong = target + 0.1
    found = prepare.denoised(images, target, wrong, step)
    if edm:
        expected = wrong / step["scales"]
    else:
        noisy = schedule.add_noise(images, step["noise"], step["timesteps"])
        levels = schedule.levels(step["timesteps"], images)
        expected = torch.cat(
            [
                schedule.denoised(w[None], x[None], *(level.item() for level in ab))
                for w, x, *ab in zip(wrong, noisy, *levels)
            ]
        )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_plain_autoencoder_has_latents_without_deviation():
    net, x = VAE(backbone("CNN", 2, 1, 1), latent_channels=2, variational=False).eval(), torch.randn(2, 1, 16, 16)
    mean, deviation = net.encode(x)
    assert mean.shape == (2, 2, 2, 2)
    assert not deviation.any()
    assert torch.equal(net.encode_stage_2_inputs(x), mean)
    (image,) = net.train()(x)
    assert image.shape == x.shape
    torch.testing.assert_close(torch.jit.script(net.eval())(x), net(x))


def test_the_class_reaches_both_halves_of_a_conditional_autoencoder():
    autoencoder = VAE(backbone("CNN", 2, 1, 1, conditioning=CLASS), latent_channels=1, variational=False)
    filled(autoencoder)
    space = LatentSpace(autoencoder, LDM(latent_backbone()))
    space.denoiser.scale_factor.fill_(1.0)
    x = torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1)
    one, other = space.encode(x, torch.tensor([0, 1]))
    assert not torch.allclose(one, other)
    z = torch.randn(1, 1, 2, 2).expand(2, -1, -1, -1)
    one, other = space.decode(z, torch.tensor([0, 1]))
    assert not torch.allclose(one, other)
    same = space.decode(z, torch.tensor([1, 1]))
    torch.testing.assert_close(same[0], same[1])
    # the class of a sample goes on to the decoder, and into the scale of the latents
    kept = []
    inferer = SamplingInferer(make_sampler(num_inference_steps=2), decode=lambda z, c: kept.append(c) or z)
    inferer(torch.randn(2, 1, 2, 2), lambda x, timesteps, context: 0 * x, condition=torch.tensor([2, 0]))
    assert [c.tolist() for c in kept] == [[2, 0]]
    space.fit_scale([{"image": x, "class_label": torch.tensor([0, 1])}], "class_label")
    latents = space.autoencoder.encode(x, torch.tensor([0, 1]))[0]
    assert space.scale_factor.item() == pytest.approx(1 / latents.std().item(), rel=1e-4)


def test_an_autoencoder_without_classes_is_not_given_one():
    space = LatentSpace(VAE(backbone("CNN", 2, 1, 1), latent_channels=1), LDM(latent_backbone()))
    space.denoiser.scale_factor.fill_(1.0)
    assert space.encode(torch.randn(1, 1, 16, 16), torch.tensor([1])).shape == (1, 1, 2, 2)
