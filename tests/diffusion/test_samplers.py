"""Samplers end at the data's distribution, evaluate guidance everywhere, and copy nothing inside their loop."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from monai.inferers import DiffusionInferer
from torch.utils._python_dispatch import TorchDispatchMode

from flemme_monai.diffusion import HeunSampler, SchedulerSampler, make_scheduler
from tests.diffusion.exact import MEAN, STD, ExactNetwork, exact_denoiser, mean_and_std

NAMES = ("ddpm", "ddim", "pndm")
# largest share of the data's deviation that samples of n steps lack; at few steps they gather at the mean
DDIM_ERROR = {1: 1.0, 2: 0.95, 3: 0.9, 7: 0.7, 50: 0.15, 300: 0.03, 999: 0.01, 1000: 0.01}
PNDM_ERROR = {1: 1.0, 2: 0.95, 3: 0.8, 7: 0.5, 50: 0.02, 300: 0.01, 999: 0.01, 1000: 0.01}


def schedule_sampler(name, n=10, prediction="epsilon", schedule="linear_beta", eta=0.0):
    scheduler = make_scheduler(name, 1000, schedule, prediction, clip_sample=False, eta=eta)
    return SchedulerSampler(scheduler, n)


def sampler_and_network(name, n=10):
    if name == "heun":
        return HeunSampler(n, s_churn=5.0), exact_denoiser
    sampler = schedule_sampler(name, n)
    return sampler, ExactNetwork(sampler.scheduler)


@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize(("name", "errors"), [("ddim", DDIM_ERROR), ("pndm", PNDM_ERROR)])
def test_any_number_of_steps_ends_at_the_data(name, errors, schedule):
    for n, error in errors.items():
        sampler = schedule_sampler(name, n, schedule=schedule)
        mean, std = mean_and_std(sampler, ExactNetwork(sampler.scheduler))
        assert mean == pytest.approx(MEAN, abs=0.005), n
        assert std == pytest.approx(STD, rel=max(error, 1e-4), abs=1e-3), n


@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 300, 999, 1000])
def test_ddim_s_deviation_is_its_closed_form(schedule, n):
    """Equation 12 on a Gaussian: each step from (a, b) to (a', b') scales what differs from the mean."""
    sampler = schedule_sampler("ddim", n, schedule=schedule)
    kept = [sampler.scheduler.alphas_cumprod[round(1000 * (n - i) / n) - 1].item() for i in range(n)] + [1.0]
    expected = 1.0
    for k, k_next in pairwise(kept):
        expected *= math.sqrt(k * k_next) * STD**2 + math.sqrt((1 - k) * (1 - k_next))
        expected /= k * STD**2 + 1 - k
    assert mean_and_std(sampler, ExactNetwork(sampler.scheduler))[1] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize(("n", "error"), [(300, 0.08), (1000, 0.04)])
def test_ddpm_and_ddim_of_eta_1_agree_and_end_at_the_data(schedule, n, error):
    noise, results = torch.randn(4000, 1, 1, 1), []
    for name, eta in (("ddpm", 0.0), ("ddim", 1.0)):
        sampler = schedule_sampler(name, n, schedule=schedule, eta=eta)
        generator = torch.Generator().manual_seed(1)
        results.append(sampler(ExactNetwork(sampler.scheduler), noise, generator=generator))
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)  # the same noise makes the same samples
    assert results[0].mean().item() == pytest.approx(MEAN, abs=0.015)
    assert results[0].std().item() == pytest.approx(STD, rel=error)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
def test_noise_velocity_and_image_are_one_process(name, schedule):
    noise, results = torch.randn(8, 1, 2, 2), []
    for prediction in ("epsilon", "v_prediction", "sample"):
        sampler = schedule_sampler(name, 50, prediction, schedule)
        generator = torch.Generator().manual_seed(1)
        results.append(sampler(ExactNetwork(sampler.scheduler), noise, generator=generator))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=5e-3)
    torch.testing.assert_close(results[2], results[0], rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_monai_s_inferer_samples_with_our_schedulers(name):
    sampler, noise = schedule_sampler(name, 7), torch.randn(2, 1, 4, 4)
    network = ExactNetwork(sampler.scheduler)
    expected = sampler(network, noise)
    sampler.scheduler.set_timesteps(7)
    theirs = DiffusionInferer(sampler.scheduler).sample(
        noise, lambda x, timesteps, context: network(x, timesteps.long()), verbose=False
    )
    torch.testing.assert_close(theirs, expected)


def test_heun_s_sigmas_are_equation_5():
    sampler = HeunSampler(18)
    assert len(sampler.sigmas) == 19
    assert sampler.sigmas[0] == pytest.approx(80)
    assert sampler.sigmas[17] == pytest.approx(0.002)
    assert sampler.sigmas[18] == 0
    middle = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert sampler.sigmas[5] == pytest.approx(middle)


@pytest.mark.parametrize(("n", "error"), [(18, 0.08), (40, 0.02), (200, 0.002)])
def test_heun_steps_end_at_the_data(n, error):
    mean, std = mean_and_std(HeunSampler(n), exact_denoiser)
    assert mean == pytest.approx(MEAN, abs=0.005)
    assert std == pytest.approx(STD, rel=error)


def test_heun_steps_are_of_second_order():
    errors = [abs(mean_and_std(HeunSampler(n), exact_denoiser)[1] - STD) for n in (40, 80)]
    assert errors[1] < errors[0] / 3


def test_churn_keeps_the_distribution():
    generator = torch.Generator().manual_seed(1)
    samples = HeunSampler(60, s_churn=20.0)(exact_denoiser, torch.randn(4000, 1, 1, 1), generator=generator)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert samples.std().item() == pytest.approx(STD, rel=0.05)


def test_churn_is_algorithm_2():
    sigmas = []

    def network(x, sigma, context):
        sigmas.append(sigma[0].item())
        return exact_denoiser(x, sigma)

    sampler = HeunSampler(10, s_churn=2.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003)
    sampler(network, torch.randn(2, 1, 2, 2))
    expected = []
    for i, sigma in enumerate(sampler.sigmas[:-1]):
        gamma = min(2.0 / 10, math.sqrt(2) - 1) if 0.05 <= sigma <= 50 else 0
        expected += [sigma * (1 + gamma)] + ([sampler.sigmas[i + 1]] if i < 9 else [])
    assert sigmas == pytest.approx(expected)
    assert len(sigmas) == 2 * 10 - 1
    assert sampler.sigma_hats[0] == sampler.sigmas[0]  # 80 is above s_tmax


def test_two_heun_steps_are_both_ends():
    assert HeunSampler(2, sigma_min=0.002, sigma_max=80).sigmas == pytest.approx([80, 0.002, 0])
    assert HeunSampler(1, sigma_min=0.002, sigma_max=80).sigmas == pytest.approx([80, 0])


def test_one_heun_step_is_the_mean():
    mean, std = mean_and_std(HeunSampler(1), exact_denoiser)
    assert mean == pytest.approx(MEAN, abs=1e-4)
    assert std < 0.01


@pytest.mark.parametrize(
    "settings", [{"num_inference_steps": 0}, {"sigma_min": 0.0}, {"sigma_max": 0.001}, {"s_churn": -1}]
)
def test_a_heun_sampler_without_sense_is_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        HeunSampler(**settings)


def test_more_steps_than_the_schedule_has_are_refused():
    with pytest.raises(ValueError, match="num_inference_steps is 101; expected 1 to 100"):
        SchedulerSampler(make_scheduler("ddim", 100), 101)


class Follows:
    """A network that gives its context, whatever x is, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.contexts: list[torch.Tensor] = []

    def __call__(self, x, timesteps, context):
        assert timesteps.shape == (x.shape[0],)
        self.batches.append(x.shape[0])
        self.contexts.append(context)
        return context.view(-1, 1, 1, 1).expand_as(x).float()


@pytest.mark.parametrize(("name", "calls"), [("ddpm", 10), ("ddim", 10), ("pndm", 10), ("heun", 19)])
def test_guidance_is_in_every_evaluation_of_the_network(name, calls):
    sampler, _ = sampler_and_network(name)
    network, label = Follows(), torch.tensor([3, 5])
    sampler(network, torch.randn(2, 1, 2, 2), label, guidance_scale=2.0)
    assert network.batches == [4] * calls
    assert all(torch.equal(context, torch.tensor([-1, -1, 3, 5])) for context in network.contexts)


def test_the_first_euler_step_is_guided():
    seen = []

    def network(x, sigma, context):
        seen.append(x)
        return context.view(-1, 1, 1, 1).expand_as(x)

    noise, label, sampler = torch.randn(2, 1, 2, 2), torch.tensor([0.25, 0.5]), HeunSampler(4)
    sampler(network, noise, label, guidance_scale=3.0)
    first, second = sampler.sigmas[:2]
    denoised = (-1 + 3 * (label + 1)).view(-1, 1, 1, 1)
    euler = noise * first + (second - first) * (noise * first - denoised) / first
    torch.testing.assert_close(seen[1][:2], euler)


@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_a_guidance_of_1_asks_once_and_needs_no_context(name):
    sampler, exact = sampler_and_network(name)
    batches = []

    def network(x, timesteps, context):
        batches.append(x.shape[0])
        assert context is None
        return exact(x, timesteps)

    sampler(network, torch.randn(2, 1, 2, 2))
    assert set(batches) == {2}


@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_guidance_without_a_context_is_refused(name):
    sampler, network = sampler_and_network(name)
    with pytest.raises(ValueError, match=r"guidance_scale is 2.0; expected 1 on an unconditional model"):
        sampler(network, torch.randn(2, 1, 2, 2), guidance_scale=2.0)


@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_a_seed_fixes_everything(name):
    sampler, network = sampler_and_network(name)
    noise = torch.randn(2, 1, 2, 2)

    def sample(seed):
        torch.randn(5)  # the global generator is somewhere else every time
        return sampler(network, noise, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(sample(1), sample(1))
    assert torch.equal(sample(1), sample(2)) == (name in ("ddim", "pndm"))


class Copies(TorchDispatchMode):
    """Counts operations that move, make or read single values: each would be a copy between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    @property
    def copies(self) -> dict[str, int]:
        names = ("_to_copy", "copy_", "lift_fresh", "scalar_tensor", "_local_scalar_dense", "_pin_memory", "nonzero")
        return {name: self.calls[name] for name in names}


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_steps_copy_nothing_between_host_and_device(name, guidance_scale):
    counts = []
    for n in (4, 12):
        sampler, _ = sampler_and_network(name, n)
        with Copies() as mode:
            sampler(
                lambda x, timesteps, context: x * 0.5, torch.randn(2, 1, 2, 2), torch.tensor([1, 2]), guidance_scale
            )
        counts.append(mode.copies)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_mixed_precision_keeps_states_in_float32(name):
    sampler, _ = sampler_and_network(name, 4)
    layer, dtypes = torch.nn.Conv2d(1, 1, 1), set()

    def network(x, timesteps, context):
        dtypes.add(x.dtype)
        output = layer(x)
        assert output.dtype == torch.bfloat16
        return output

    with torch.autocast("cpu", torch.bfloat16):
        samples = sampler(network, torch.randn(2, 1, 2, 2))
    assert samples.dtype == torch.float32
    assert dtypes == {torch.float32}
    assert not samples.requires_grad


@pytest.mark.parametrize("name", [*NAMES, "heun"])
def test_each_step_reports_the_predicted_image(name):
    sampler, network = sampler_and_network(name, 10)
    seen = {}
    sampler(network, torch.randn(2, 1, 2, 2), on_step=lambda i, denoised: seen.update({i: denoised}))
    assert list(seen) == list(range(10))
    assert abs(seen[0].mean().item() - MEAN) < 0.05  # at pure noise the best guess is the mean
    assert seen[9].std() > seen[0].std()
