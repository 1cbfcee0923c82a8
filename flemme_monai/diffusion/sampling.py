"""Samplers: from standard normal noise to samples, by evaluations of a denoising network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..utils import former_arguments
from .guidance import classifier_free_guidance
from .schedules import DiffusionScheduler, Generators, noise_like

OnStep = Callable[[int, torch.Tensor], None]


class SchedulerSampler:
    """Samples along the steps of a scheduler: DDPM, DDIM or PNDM.

    Args:
        scheduler: its ``step`` goes from one time step to the next.
        num_inference_steps: steps to visit, 1 to all that the schedule has.

    Raises:
        ValueError: If there are more steps than the schedule has.
    """

    def __init__(self, scheduler: DiffusionScheduler, num_inference_steps: int) -> None:
        scheduler.set_timesteps(num_inference_steps)
        self.scheduler, self.num_inference_steps = scheduler, num_inference_steps

    @torch.no_grad()
    def __call__(
        self,
        network: Callable[..., torch.Tensor],
        noise: torch.Tensor,
        context: torch.Tensor | None = None,
        guidance_scale: float = 1.0,
        generator: Generators = None,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Turn noise into samples.

        Args:
            network: from (x, timesteps (B,), context) to what the scheduler's ``prediction_type`` says, in eval mode.
            noise: standard normal (B, C, *S), on the network's device.
            context: (B, ...); None: not used.
            guidance_scale: weight of classifier-free guidance; 1: not used.
            generator: of the noise of all steps, on the device of ``noise``; one for all, or one per sample.
            on_step: called after each step with its index and the predicted image (B, C, *S).

        Returns:
            Samples (B, C, *S).

        Raises:
            ValueError: If the guidance scale is not 1 and there is no context.
        """
        predict = classifier_free_guidance(network, context, guidance_scale)
        self.scheduler.set_timesteps(self.num_inference_steps)
        steps = self.scheduler.timesteps.tolist()
        timesteps = self.scheduler.timesteps.to(noise.device)[:, None].expand(-1, noise.shape[0])  # (n, B)
        x = noise
        for i, t in enumerate(steps):
            x, denoised = self.scheduler.step(predict(x, timesteps[i]), t, x, generator=generator)
            if on_step is not None:
                on_step(i, denoised)
        return x


class HeunSampler:
    """Algorithm 2 of EDM (Karras et al. 2022): Heun steps in sigma, with stochastic churn.

    Args:
        num_inference_steps: steps n; the network is evaluated 2 n - 1 times.
        sigma_min: the last sigma before 0.
        sigma_max: the first sigma.
        rho: how much the steps shorten towards ``sigma_min`` (equation 5).
        s_churn: amount of noise that is added in all; 0 is deterministic.
        s_tmin: no noise is added below this sigma.
        s_tmax: no noise is added above this sigma.
        s_noise: standard deviation of added noise.

    Raises:
        ValueError: If there is no step, or the sigmas are out of order.
    """

    @former_arguments(churn="s_churn", churn_min="s_tmin", churn_max="s_tmax", noise_scale="s_noise")
    def __init__(
        self,
        num_inference_steps: int = 18,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
    ) -> None:
        if num_inference_steps < 1:
            raise ValueError(f"num_inference_steps is {num_inference_steps}; expected 1 or more.")
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"sigma_min is {sigma_min} and sigma_max {sigma_max}; expected 0 < sigma_min < sigma_max.")
        if s_churn < 0:
            raise ValueError(f"s_churn is {s_churn}; expected 0 (deterministic) or more.")
        self.num_inference_steps, self.s_noise = num_inference_steps, s_noise
        first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
        ramp = [i / max(num_inference_steps - 1, 1) for i in range(num_inference_steps)]
        self.sigmas = [(first + r * (last - first)) ** rho for r in ramp] + [0.0]
        gamma = min(s_churn / num_inference_steps, math.sqrt(2) - 1)
        self.sigma_hats = [s * (1 + gamma) if s_tmin <= s <= s_tmax else s for s in self.sigmas[:-1]]

    @torch.no_grad()
    def __call__(
        self,
        network: Callable[..., torch.Tensor],
        noise: torch.Tensor,
        context: torch.Tensor | None = None,
        guidance_scale: float = 1.0,
        generator: Generators = None,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Turn noise into samples.

        Args:
            network: the denoiser D, from (x, sigmas (B,), context) to the image in x, in eval mode.
            noise: standard normal (B, C, *S), on the network's device.
            context, guidance_scale, generator, on_step: as :meth:`SchedulerSampler.__call__`.

        Returns:
            Samples (B, C, *S).

        Raises:
            ValueError: If the guidance scale is not 1 and there is no context.
        """
        denoise = classifier_free_guidance(network, context, guidance_scale)
        # (2, n, B): sigma_hat, which is sigma after churn, and sigma_next
        levels = torch.tensor([self.sigma_hats, self.sigmas[1:]], device=noise.device)
        levels = levels[..., None].expand(-1, -1, noise.shape[0])
        x = noise * self.sigmas[0]
        for i, (sigma, sigma_hat, sigma_next) in enumerate(zip(self.sigmas, self.sigma_hats, self.sigmas[1:])):
            if sigma_hat > sigma:
                x = x + math.sqrt(sigma_hat**2 - sigma**2) * self.s_noise * noise_like(x, generator)
            denoised = denoise(x, levels[0, i])
            slope = (x - denoised) / sigma_hat
            euler = x + (sigma_next - sigma_hat) * slope
            if sigma_next > 0:
                slope_next = (euler - denoise(euler, levels[1, i])) / sigma_next
                x = x + (sigma_next - sigma_hat) * (slope + slope_next) / 2
            else:
                x = euler
            if on_step is not None:
                on_step(i, denoised)
        return x
