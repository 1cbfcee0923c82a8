"""Diffusion, only what MONAI lacks: sampling at any number of steps, EDM, supervised diffusion, guidance."""

from .between import ImageWay, SeedWay
from .edm import Preconditioning
from .guidance import absent, guided
from .inferers import AveragedInferer, EDMInferer, SamplingInferer
from .latents import LatentSpace
from .noise import StartNoise, interpolate, start_noise
from .preparation import DenoisingPrepareBatch, SigmaPrepareBatch
from .sampling import HeunSampler, ScheduleSampler
from .schedules import DDIMScheduler, DDPMScheduler, PNDMScheduler, make_scheduler

__all__ = [
    "AveragedInferer",
    "DDIMScheduler",
    "DDPMScheduler",
    "DenoisingPrepareBatch",
    "EDMInferer",
    "HeunSampler",
    "ImageWay",
    "LatentSpace",
    "PNDMScheduler",
    "Preconditioning",
    "SamplingInferer",
    "ScheduleSampler",
    "SeedWay",
    "SigmaPrepareBatch",
    "StartNoise",
    "absent",
    "guided",
    "interpolate",
    "make_scheduler",
    "start_noise",
]
