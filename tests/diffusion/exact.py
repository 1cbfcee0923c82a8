"""Diffusion of one Gaussian, whose best denoiser is known, and the numbers a deterministic sampler makes of it."""

from __future__ import annotations

import torch

MEAN, STD = 0.3, 0.2


def posterior_mean(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """E(x0 | a x0 + b noise = x) for x0 of N(MEAN, STD²)."""
    return MEAN + a * STD**2 / (a**2 * STD**2 + b**2) * (x - a * MEAN)


class ExactNetwork:
    """The best prediction at a scheduler's time steps, of whatever kind the scheduler wants."""

    def __init__(self, scheduler) -> None:
        self.scheduler = scheduler

    def __call__(self, x, timesteps, context=None):
        a, b = self.scheduler.levels(timesteps, x)
        x0 = posterior_mean(x, a, b)
        noise = (x - a * x0) / b
        return {"epsilon": noise, "sample": x0, "v_prediction": a * noise - b * x0}[self.scheduler.prediction_type]


def exact_denoiser(x, sigmas, context=None):
    """EDM's best denoiser D(x; sigma)."""
    sigmas = sigmas.view([-1] + [1] * (x.ndim - 1))
    return posterior_mean(x, torch.ones_like(sigmas), sigmas)


def mean_and_std(sampler, network) -> tuple[float, float]:
    """Of a deterministic sampler's samples: with an exact network it is a line, so that two initial noises tell all."""
    low, high = sampler(network, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)).flatten().tolist()
    return (low + high) / 2, (high - low) / 2
