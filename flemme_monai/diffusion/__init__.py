"""Diffusion, only what MONAI lacks: sampling at any number of steps, EDM, supervised diffusion, guidance."""

from .edm import Preconditioning
from .guidance import classifier_free_guidance, null_context
from .inferers import AveragedInferer, AveragedLabelInferer, EDMInferer, SamplingInferer
from .interpolation import ImageInterpolation, SeedInterpolation, interpolate
from .joint import JointInferer
from .latents import LatentSpace
from .noise import InitialNoise, initial_noise
from .preparation import EDMPrepareBatch, SchedulerPrepareBatch
from .process import is_edm, make_prepare_batch, make_sampler, make_training_inferer
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
    "AveragedLabelInferer",
    "DDIMScheduler",
    "DDPMScheduler",
    "EDMInferer",
    "EDMPrepareBatch",
    "HeunSampler",
    "ImageInterpolation",
    "InitialNoise",
    "JointInferer",
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
    "is_edm",
    "make_prepare_batch",
    "make_sampler",
    "make_scheduler",
    "make_training_inferer",
    "null_context",
]
