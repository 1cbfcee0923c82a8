"""Inferers turn noise, or a degraded image, into images."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from flemme_monai.diffusion import (
    AveragedInferer,
    HeunSampler,
    InitialNoise,
    SamplingInferer,
    SchedulerSampler,
    make_scheduler,
)
from tests.diffusion.exact import MEAN, ExactNetwork, exact_denoiser


def ancestral(n=5):
    sampler = SchedulerSampler(make_scheduler("ddpm", clip_sample=False), n)
    return sampler, ExactNetwork(sampler.scheduler)


def noises(*indices, **settings):
    data = InitialNoise(8, (1, 4, 4), **settings)
    return torch.stack([data[i]["image"] for i in indices])


def test_a_seed_fixes_the_start_and_the_noise_of_every_step():
    sampler, network = ancestral()

    def run(seed):
        inferer = SamplingInferer(sampler, seed=seed)
        return torch.cat([inferer(noises(0, 1), network), inferer(noises(2, 3), network)])

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_samples_are_not_given_the_same_noise():
    sampler, _ = ancestral()
    samples = SamplingInferer(sampler)(noises(0, 1), lambda x, timesteps, context: torch.zeros_like(x))
    apart = samples[0] - samples[1]
    assert apart.std() > 0.5 * noises(0).std()  # steps of one noise would leave the difference of the initial noises


@pytest.mark.parametrize("noisy", [False, True])
def test_a_sample_does_not_depend_on_its_batch(noisy):
    sampler, network = ancestral() if noisy else (HeunSampler(4), exact_denoiser)
    inferer = SamplingInferer(sampler)
    together = inferer(noises(0, 1, 2), network)
    torch.testing.assert_close(inferer(noises(2), network), together[2:])
    torch.testing.assert_close(SamplingInferer(sampler)(noises(2, 1), network), together[[2, 1]])


def test_churn_does_not_depend_on_the_batch():
    inferer = SamplingInferer(HeunSampler(6, s_churn=4.0))
    torch.testing.assert_close(inferer(noises(2), exact_denoiser), inferer(noises(0, 1, 2), exact_denoiser)[2:])


def test_intermediate_predictions_are_kept_evenly_and_decoded():
    sampler, network = ancestral(10)
    seen = []

    def decode(latents, condition):
        seen.append(latents)
        return latents.repeat(1, 1, 2, 2)

    inferer = SamplingInferer(sampler, decode=decode, keep_steps=5)
    images = inferer(noises(0, 1), network)
    assert images.shape == (2, 1, 8, 8)
    assert [step.shape for step in inferer.steps] == [images.shape] * 5
    assert len(seen) == 6  # only what is kept, and the samples
    torch.testing.assert_close(inferer.steps[-1], images)
    inferer(noises(0), network)
    assert len(inferer.steps) == 5


@pytest.mark.parametrize("keep", [0, 1, 2, 9, 10])
def test_as_many_steps_are_kept_as_asked_and_the_last_is_one(keep):
    sampler, network = ancestral(10)
    inferer = SamplingInferer(sampler, keep_steps=keep)
    images = inferer(noises(0), network)
    assert len(inferer.steps) == keep
    if keep:
        torch.testing.assert_close(inferer.steps[-1], images)


def test_more_kept_steps_than_there_are_are_refused():
    with pytest.raises(ValueError, match="keep_steps is 6; expected at most the sampler's 5"):
        SamplingInferer(ancestral(5)[0], keep_steps=6)


def test_guidance_reaches_the_network():
    batches = []

    def network(x, sigmas, context):
        batches.append(x.shape[0])
        return exact_denoiser(x, sigmas)

    SamplingInferer(HeunSampler(2), guidance_scale=2.0)(noises(0, 1), network, condition=torch.tensor([0, 1]))
    assert batches == [4, 4, 4]
    with pytest.raises(ValueError, match="unconditional"):
        SamplingInferer(HeunSampler(2), guidance_scale=2.0)(noises(0), network)


def test_there_is_no_bar_outside_a_terminal(capfd):
    SamplingInferer(HeunSampler(3))(noises(0), exact_denoiser)
    assert capfd.readouterr().err == ""


class Restores:
    """A denoiser of images that are their condition, in -1..1, and a Gaussian around it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x, sigmas, context):
        self.calls += 1
        return exact_denoiser(x - (context * 2 - 1), sigmas) + (context * 2 - 1)


def test_supervised_samples_are_averaged_with_their_standard_deviation():
    network, degraded = Restores(), torch.rand(2, 1, 8, 8)
    result = AveragedInferer(HeunSampler(40), num_samples=64)(degraded, network)
    mean, std = result.chunk(2, 1)
    assert result.shape == (2, 2, 8, 8)
    assert network.calls == 64 * 79
    torch.testing.assert_close(mean, degraded + MEAN / 2, rtol=0, atol=0.06)  # 4 standard errors
    assert std.mean().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("num_samples", [2, 4])
def test_the_variance_of_few_samples_is_unbiased(num_samples):
    degraded = torch.rand(1, 1, 64, 64)
    _, std = AveragedInferer(HeunSampler(40), num_samples=num_samples)(degraded, Restores()).chunk(2, 1)
    assert std.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("num_samples", [0, 1])
def test_fewer_samples_than_a_deviation_needs_are_refused(num_samples):
    with pytest.raises(ValueError, match=f"num_samples is {num_samples}; expected 2 or more: the uncertainty"):
        AveragedInferer(HeunSampler(3), num_samples=num_samples)


@pytest.mark.parametrize("s_churn", [0.0, 4.0])
def test_an_image_s_average_repeats_and_does_not_depend_on_its_neighbours(s_churn):
    inferer, degraded = AveragedInferer(HeunSampler(5, s_churn=s_churn), num_samples=3), torch.rand(3, 1, 8, 8)
    together = inferer(degraded, Restores())
    assert torch.equal(inferer(degraded, Restores()), together)
    torch.testing.assert_close(inferer(degraded[1:2], Restores()), together[1:2])


def test_a_larger_image_is_taken_in_windows():
    window = SlidingWindowInferer(roi_size=(8, 8), sw_batch_size=2, overlap=0.25)
    inferer = AveragedInferer(HeunSampler(5), num_samples=2, window=window)
    assert inferer(torch.rand(1, 1, 12, 20), Restores()).shape == (1, 2, 12, 20)
