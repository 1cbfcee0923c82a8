"""Schedulers of a diffusion in discrete steps, right at any number of steps from 1 to all.

MONAI's DDIM and PNDM step from t to t - T // n, whatever time step comes next, and its DDPM always to t - 1, so each is
wrong at most numbers of steps. Here the next time step is read from the table of those that are visited.

Glossary: T steps of the schedule, n of them visited, t the present one and s the next, less noisy one;
x = a x0 + b noise with a = sqrt(alphas_cumprod), b = sqrt(1 - alphas_cumprod), so a = 1, b = 0 where there is no noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.schedulers.scheduler import NoiseSchedules, Scheduler
from monai.utils import unsqueeze_right

Generators = torch.Generator | Sequence[torch.Generator] | None
PREDICTIONS = ("epsilon", "v_prediction", "sample")
ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class DiffusionScheduler(Scheduler):
    """A schedule of noise, and which of its steps sampling visits; what DDPM, DDIM and PNDM share.

    The schedule's tables stay in float32 on the CPU, whatever images come.

    Args:
        num_train_timesteps: steps T of the schedule.
        schedule: a name in MONAI's ``NoiseSchedules``, as ``linear_beta``, ``scaled_linear_beta`` or ``cosine``.
        prediction_type: what the network predicts: ``epsilon`` (the noise), ``v_prediction`` (the velocity of Salimans
            and Ho 2022) or ``sample`` (the image).
        clip_sample: clip the predicted image to -1..1; not for latents.
        schedule_args: go to the schedule's function, as ``beta_start`` and ``beta_end``.

    Raises:
        ValueError: If a name is unknown, or the schedule keeps all or nothing of the image at some step.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        schedule: str = "linear_beta",
        prediction_type: str = "epsilon",
        clip_sample: bool = True,
        **schedule_args: float,
    ) -> None:
        if prediction_type not in PREDICTIONS:
            raise ValueError(f"prediction_type is {prediction_type!r}; expected one of {', '.join(PREDICTIONS)}.")
        if schedule not in NoiseSchedules:
            raise ValueError(f"schedule is {schedule!r}; expected one of {', '.join(NoiseSchedules.names)}.")
        _check_steps(num_train_timesteps)
        super().__init__(num_train_timesteps, schedule, **schedule_args)
        self._kept = self.alphas_cumprod.tolist()
        low, high = min(self._kept), max(self._kept)
        if not 0 < low <= high < 1:
            raise ValueError(
                f"schedule '{schedule}' over {num_train_timesteps} steps keeps {low:.3g} to {high:.3g} of the image's "
                "variance; expected more than 0 and less than 1: change the number of steps or the betas."
            )
        self.prediction_type = prediction_type
        self.clip_sample = clip_sample
        self._levels = torch.stack([self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()])  # (2, T): a, b
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Choose the steps to visit, evenly spaced and from the last one on ("trailing", Lin et al. 2024).

        Args:
            num_inference_steps: how many, 1 to T.
            device: where ``timesteps`` will lie.

        Raises:
            ValueError: If the schedule does not have that many.
        """
        n, T = num_inference_steps, self.num_train_timesteps
        if not 1 <= n <= T:
            raise ValueError(f"num_inference_steps is {n}; expected 1 to {T}, the steps of the schedule.")
        steps = [round(T * (n - i) / n) - 1 for i in range(n)]
        self.num_inference_steps = n
        self.timesteps = torch.tensor(steps, device=device)
        self._next = dict(zip(steps, [*steps[1:], None]))

    def coefficients(self, timestep: int) -> tuple[float, float, float, float]:
        """a and b at a visited time step and at the next one.

        Raises:
            ValueError: If the time step is not visited.
        """
        t = int(timestep)
        if t not in self._next:
            raise ValueError(
                f"time step is {t}; expected one of the {self.num_inference_steps} that set_timesteps chose."
            )
        s = self._next[t]
        kept, kept_next = self._kept[t], 1.0 if s is None else self._kept[s]
        return math.sqrt(kept), math.sqrt(1 - kept), math.sqrt(kept_next), math.sqrt(1 - kept_next)

    def denoised(self, model_output: torch.Tensor, x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        """The image x0 that the network's output says is in ``x`` (B, C, *S)."""
        if self.prediction_type == "epsilon":
            x0 = (x - b * model_output) / a
        elif self.prediction_type == "v_prediction":
            x0 = a * x - b * model_output
        else:
            x0 = model_output
        return x0.clamp(-1, 1) if self.clip_sample else x0

    def levels(self, timesteps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """a and b at time steps (B,), shaped to go with ``images`` (B, C, *S): (2, B, 1, ...)."""
        if self._levels.device != images.device:
            self._levels = self._levels.to(images.device)
        return unsqueeze_right(self._levels[:, timesteps], images.ndim + 1)

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """``a x0 + b noise`` for images and noise (B, C, *S) at time steps (B,)."""
        a, b = self.levels(timesteps, original_samples)
        return (a * original_samples + b * noise).to(original_samples.dtype)

    def get_velocity(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """``a noise - b x0`` for images and noise (B, C, *S) at time steps (B,)."""
        a, b = self.levels(timesteps, sample)
        return (a * noise - b * sample).to(sample.dtype)

    def get_target(self, images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The target of the network's prediction, (B, C, *S)."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return images
        return self.get_velocity(images, noise, timesteps)

    def step(
        self, model_output: torch.Tensor, timestep: int, sample: torch.Tensor, generator: Generators = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go from a visited time step to the next one; a subclass does.

        Args:
            model_output: the network's prediction (B, C, *S) for ``sample``.
            timestep: t, one of ``timesteps``.
            sample: x_t (B, C, *S).
            generator: of the noise, on the sample's device; one for all, or one per item of the batch.

        Returns:
            x_s and the predicted image x0.
        """
        raise NotImplementedError


class DDPMScheduler(DiffusionScheduler):
    """Ancestral sampling (Ho et al. 2020), also between time steps that are further apart."""

    def step(
        self, model_output: torch.Tensor, timestep: int, sample: torch.Tensor, generator: Generators = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from the posterior q(x_s | x_t, x0), equations 6 and 7; arguments and returns as
        :meth:`DiffusionScheduler.step`."""
        a, b, a_next, b_next = self.coefficients(timestep)
        x0 = self.denoised(model_output, sample, a, b)
        alpha = (a / a_next) ** 2
        mean = (a_next * (1 - alpha) / b**2) * x0 + (math.sqrt(alpha) * b_next**2 / b**2) * sample
        deviation = b_next / b * math.sqrt(1 - alpha)
        return (mean + deviation * noise_like(sample, generator) if b_next > 0 else mean), x0


class DDIMScheduler(DiffusionScheduler):
    """Deterministic sampling (Song et al. 2021), or with some of DDPM's noise.

    Args:
        eta: share of DDPM's noise, from 0 (none) to 1 (DDPM).
        num_train_timesteps, schedule, prediction_type, clip_sample, schedule_args: as :class:`DiffusionScheduler`.

    Raises:
        ValueError: If ``eta`` is not in 0..1.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        schedule: str = "linear_beta",
        prediction_type: str = "epsilon",
        clip_sample: bool = True,
        eta: float = 0.0,
        **schedule_args: float,
    ) -> None:
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}; expected 0 (deterministic) to 1 (as much noise as DDPM).")
        super().__init__(num_train_timesteps, schedule, prediction_type, clip_sample, **schedule_args)
        self.eta = eta

    def step(
        self, model_output: torch.Tensor, timestep: int, sample: torch.Tensor, generator: Generators = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Equations 12 and 16; arguments and returns as :meth:`DiffusionScheduler.step`."""
        a, b, a_next, b_next = self.coefficients(timestep)
        x0 = self.denoised(model_output, sample, a, b)
        noise = (sample - a * x0) / b
        deviation = self.eta * b_next / b * math.sqrt(1 - (a / a_next) ** 2)
        x = a_next * x0 + math.sqrt(b_next**2 - deviation**2) * noise
        return (x + deviation * noise_like(sample, generator) if deviation > 0 else x), x0


class PNDMScheduler(DiffusionScheduler):
    """Deterministic sampling with a linear multi-step method (Liu et al. 2022), one evaluation of the network per step.

    The first three steps are of orders 1 to 3, where the paper has Runge-Kutta steps of four evaluations each.
    """

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """As :meth:`DiffusionScheduler.set_timesteps`; forgets the noises of the last sampling."""
        super().set_timesteps(num_inference_steps, device)
        self.noises: list[torch.Tensor] = []

    def step(
        self, model_output: torch.Tensor, timestep: int, sample: torch.Tensor, generator: Generators = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Equations 11 and 12; arguments and returns as :meth:`DiffusionScheduler.step`, with no noise to draw."""
        a, b, a_next, b_next = self.coefficients(timestep)
        x0 = self.denoised(model_output, sample, a, b)
        self.noises = [(sample - a * x0) / b, *self.noises[:3]]
        noise = sum(weight * noise for weight, noise in zip(ADAMS_BASHFORTH[len(self.noises) - 1], self.noises))
        return a_next / a * (sample - b * noise) + b_next * noise, x0


def _check_steps(num_train_timesteps: int) -> None:
    if num_train_timesteps < 1:
        raise ValueError(f"num_train_timesteps is {num_train_timesteps}; expected 1 or more.")


def noise_like(x: torch.Tensor, generator: Generators) -> torch.Tensor:
    """Standard normal noise of the shape, type and device of ``x`` (B, ...), of one generator or one per item."""
    if isinstance(generator, Sequence):
        return torch.stack([noise_like(item, own) for item, own in zip(x, generator, strict=True)])
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def make_scheduler(
    sampler: str,
    num_train_timesteps: int = 1000,
    schedule: str = "linear_beta",
    prediction_type: str = "epsilon",
    clip_sample: bool = True,
    eta: float = 0.0,
) -> DiffusionScheduler:
    """The scheduler of a sampler's name; a network trained with one samples with any of them at equal settings.

    The betas of MONAI's schedules are for 1000 steps. For another number they are scaled by 1000 / T (Nichol and
    Dhariwal 2021), so that images end as noise there too.

    Args:
        sampler: ``ddpm``, ``ddim`` or ``pndm``.
        num_train_timesteps, schedule, prediction_type, clip_sample: as :class:`DiffusionScheduler`.
        eta: as :class:`DDIMScheduler`.

    Raises:
        ValueError: If the name is unknown, or ``eta`` is set for a sampler that does not use it.
    """
    table = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "pndm": PNDMScheduler}
    if sampler not in table:
        raise ValueError(f"sampler is {sampler!r}; expected one of {', '.join(table)}.")
    _check_steps(num_train_timesteps)
    if eta and sampler != "ddim":
        raise ValueError(f"eta is {eta}; expected 0 for sampler '{sampler}': set it to 0 or take 'ddim'.")
    settings: dict = {"eta": eta} if sampler == "ddim" else {}
    if schedule.endswith("_beta"):
        scale = 1000 / num_train_timesteps
        settings |= {"beta_start": 1e-4 * scale, "beta_end": 2e-2 * scale}
    return table[sampler](num_train_timesteps, schedule, prediction_type, clip_sample, **settings)
