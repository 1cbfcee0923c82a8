"""Schedulers are their papers' formulas at any number of steps, and leave their tables alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from monai.networks import schedulers as monai_schedulers

from flemme_monai.diffusion import DDIMScheduler, DDPMScheduler, PNDMScheduler, make_scheduler

SAMPLERS = ("ddpm", "ddim", "pndm")
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("T", [10, 50, 1000])
def test_steps_begin_at_the_last_and_never_repeat(T):
    scheduler = DDIMScheduler(T)
    for n in range(1, T + 1):
        scheduler.set_timesteps(n)
        steps = scheduler.timesteps.tolist()
        assert len(steps) == n
        assert steps[0] == T - 1
        assert steps[-1] >= 0
        assert all(later < earlier for earlier, later in pairwise(steps))
    assert steps == list(range(T - 1, -1, -1))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("n", [0, -1, 101])
def test_steps_that_the_schedule_does_not_have_are_refused(sampler, n):
    with pytest.raises(ValueError, match=f"{n}; expected 1 to 100"):
        make_scheduler(sampler, 100).set_timesteps(n)


def test_a_time_step_that_is_not_visited_is_refused():
    scheduler = DDIMScheduler(1000)
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match="time step is 998; expected one of the 10"):
        scheduler.step(torch.zeros(1, 1, 2, 2), 998, torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize("t", [999, 500, 1, 0])
def test_ddpm_with_all_steps_is_monai_s(schedule, prediction, clip, t):
    ours = DDPMScheduler(1000, schedule, prediction, clip)
    theirs = monai_schedulers.DDPMScheduler(1000, schedule, prediction_type=prediction, clip_sample=clip)
    x, output = torch.randn(2, 2, 1, 4, 4).unbind(0)
    for a, b in zip(ours.step(output, t, x, generator()), theirs.step(output, t, x, generator())):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [999, 500, 1, 0])
def test_ddim_with_all_steps_is_monai_s(prediction, eta, t):
    ours = DDIMScheduler(1000, prediction_type=prediction, clip_sample=False, eta=eta)
    theirs = monai_schedulers.DDIMScheduler(1000, prediction_type=prediction, clip_sample=False)
    x, output = torch.randn(2, 2, 1, 4, 4).unbind(0)
    for a, b in zip(ours.step(output, t, x, generator()), theirs.step(output, t, x, eta, generator())):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize("n", [1, 2, 7, 300, 1000])
def test_ddim_of_eta_1_is_ddpm_step_by_step(schedule, n, clip):
    ddpm, ddim = DDPMScheduler(1000, schedule, clip_sample=clip), DDIMScheduler(1000, schedule, "epsilon", clip, 1.0)
    ddpm.set_timesteps(n)
    ddim.set_timesteps(n)
    noise = torch.randn(2, 1, 4, 4)
    for t in ddpm.timesteps.tolist():
        x = ddpm.add_noise(torch.rand(2, 1, 4, 4), noise, torch.tensor([t, t]))
        for a, b in zip(ddpm.step(noise, t, x, generator()), ddim.step(noise, t, x, generator=generator())):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_pndm_extrapolates_a_noise_that_changes_evenly():
    """Adams-Bashforth weights sum to 1, and a noise that is linear in the step is met half a step ahead."""
    scheduler = PNDMScheduler(1000, clip_sample=False)
    scheduler.set_timesteps(100)
    x = torch.zeros(1, 1, 1, 1)
    for i, t in enumerate(scheduler.timesteps.tolist()[:6]):
        noise = torch.full_like(x, float(i))
        after, _ = scheduler.step(noise, t, x)
        a, b, a_next, b_next = scheduler.coefficients(t)
        ahead = noise + (0.5 if i else 0.0)
        torch.testing.assert_close(after, a_next / a * (x - b * ahead) + b_next * ahead)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_steps_predict_the_image_that_was_noised(sampler):
    image, noise = torch.rand(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    for prediction in PREDICTIONS:
        scheduler = make_scheduler(sampler, prediction_type=prediction)
        for t in (999, 400, 0):
            steps = torch.full((3,), t)
            target = scheduler.get_target(image, noise, steps)
            _, x0 = scheduler.step(target, t, scheduler.add_noise(image, noise, steps))
            torch.testing.assert_close(x0, image, rtol=1e-3, atol=1e-3)


def test_a_predicted_image_is_clipped_only_when_asked():
    x = torch.full((1, 1, 2, 2), 3.0)
    for clip, largest in ((True, 1.0), (False, 3.0)):
        _, x0 = DDIMScheduler(prediction_type="sample", clip_sample=clip).step(x, 500, x)
        assert x0.max() == largest


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_noise_is_added_in_float32_and_leaves_the_tables_as_they_are(dtype):
    scheduler = DDPMScheduler()
    before = scheduler.alphas_cumprod.clone()
    image, noise, steps = torch.rand(2, 1, 4, 4).to(dtype), torch.randn(2, 1, 4, 4).to(dtype), torch.tensor([0, 999])
    noisy = scheduler.add_noise(image, noise, steps)
    velocity = scheduler.get_velocity(image, noise, steps)
    assert noisy.dtype == velocity.dtype == dtype
    assert scheduler.alphas_cumprod.dtype == torch.float32
    assert torch.equal(scheduler.alphas_cumprod, before)
    a, b = before[steps].sqrt().view(2, 1, 1, 1), (1 - before[steps]).sqrt().view(2, 1, 1, 1)
    assert torch.equal(noisy, (a * image + b * noise).to(dtype))
    assert torch.equal(velocity, (a * noise - b * image).to(dtype))


@pytest.mark.parametrize("schedule", ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"])
@pytest.mark.parametrize("T", [50, 100, 1000, 4000])
def test_images_end_as_noise_whatever_the_number_of_steps(schedule, T):
    assert make_scheduler("ddpm", T, schedule).alphas_cumprod[-1] < 0.01


def test_a_thousand_steps_are_monai_s_schedule():
    for schedule in ("linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"):
        theirs = monai_schedulers.DDPMScheduler(1000, schedule)
        assert torch.equal(make_scheduler("pndm", 1000, schedule).alphas_cumprod, theirs.alphas_cumprod)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "euler"}, "expected one of ddpm, ddim, pndm"),
        ({"sampler": "ddpm", "eta": 0.5}, "expected 0 for sampler"),
        ({"sampler": "ddim", "eta": 1.5}, "eta is 1.5"),
        ({"sampler": "ddim", "schedule": "square"}, "linear_beta"),
        ({"sampler": "ddim", "prediction_type": "noise"}, "epsilon, v_prediction, sample"),
        ({"sampler": "ddim", "num_train_timesteps": 10}, "over 10 steps"),
        ({"sampler": "ddim", "num_train_timesteps": 0}, "num_train_timesteps is 0"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_scheduler(**settings)
