"""Diffusion, only what MONAI lacks: sampling at any number of steps, EDM, supervised diffusion, guidance."""

from .edm import Preconditioning
from .guidance import classifier_free_guidance, null_context
from .inferers import AveragedInferer, EDMInferer, SamplingInferer
from .interpolation import ImageInterpolation, SeedInterpolation, interpolate
from .latents import LatentSpace
from .noise import InitialNoise, initial_noise
from .preparation import EDMPrepareBatch, SchedulerPrepareBatch
from .sampling import HeunSampler, SchedulerSampler
from .schedules import DDIMScheduler, DDPMScheduler, PNDMScheduler, make_scheduler

# their names in bundles of version 0.4.0
DenoisingPrepareBatch = SchedulerPrepareBatch
ImageWay = ImageInterpolation
ScheduleSampler = SchedulerSampler
SeedWay = SeedInterpolation
SigmaPrepareBatch = EDMPrepareBatch
StartNoise = InitialNoise

__all__ = [
    "AveragedInferer",
    "DDIMScheduler",
    "DDPMScheduler",
    "EDMInferer",
    "EDMPrepareBatch",
    "HeunSampler",
    "ImageInterpolation",
    "InitialNoise",
    "LatentSpace",
    "PNDMScheduler",
    "Preconditioning",
    "SamplingInferer",
    "SchedulerPrepareBatch",
    "SchedulerSampler",
    "SeedInterpolation",
    "classifier_free_guidance",
    "initial_noise",
    "interpolate",
    "make_scheduler",
    "null_context",
]
