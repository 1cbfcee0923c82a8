"""Diffusion: our denoiser beside MONAI's, the speed of sampling, and what a step of it costs beside the network.

Run as a program it prints the peak bytes of one denoiser, for a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..recipes import make_bundle
from ..recipes.networks import built_backbone
from ..registry import encoders_of
from ..utils.network_config import config_of
from .benchmark_networks import MODES, Problem, Workload, main, measure, ratios
from .measure import alternating_seconds, count_parameters, markdown_table, matched_width, synchronize

DENOISER_PROBLEMS = {2: Problem(2, 8, 64), 3: Problem(3, 1, 32)}
QUICK_PROBLEMS = {2: Problem(2, 1, 16), 3: Problem(3, 1, 16)}

# ours and MONAI's; both attend to all positions at the coarsest level: MONAI's in its middle, or in every block there
OURS, THEIRS = "UNet", ("monai.DiffusionModelUNet", "monai.DiffusionModelUNet@attention")
VARIANTS = ("UNet@checkpointing", "UNet@bf16")

U_SHAPED = encoders_of("skip")
SAMPLED, QUICK_SAMPLED = Problem(2, 8, 64), Problem(2, 1, 16)
STEP_PROBLEMS = (Problem(2, 1, 32), Problem(2, 8, 32), Problem(2, 8, 64), Problem(2, 2, 128), Problem(3, 1, 32))
STEPS, COUNTED = 10, (2, 4)  # of the samplings that are timed, and of those whose operations are counted


def ours(bundle: str, spatial_dims: int, width: float = 1.0, **settings: object) -> nn.Module:
    """The network of a bundle with the widths of its stages scaled; settings are its backbone's."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(json.loads(make_bundle(bundle)["configs/train.json"]))
    parser["spatial_dims"] = spatial_dims
    backbone, usual = parser["network_def"]["backbone"], config_of(built_backbone(parser.get()))
    for name in "channels", "middle_channels":
        backbone[name] = [8 * max(1, round(channels * width / 8)) for channels in usual[name]]
    backbone.update(settings)
    return parser.get_parsed_content("network_def")


def theirs(spatial_dims: int, width: float, attention: bool) -> nn.Module:
    """MONAI's network of our bundle's depth and widths, scaled; ``attention`` adds it to its coarsest level."""
    from monai.networks.nets import DiffusionModelUNet

    channels = [max(4, 4 * round(channels * width / 4)) for channels in (32, 64, 96, 128)]
    return DiffusionModelUNet(
        spatial_dims,
        1,
        1,
        num_res_blocks=2,
        channels=channels,
        attention_levels=(False, False, False, attention),
        norm_num_groups=4,
        num_head_channels=channels[-1] // 4,
    )


def build(name: str, spatial_dims: int, width: float) -> nn.Module:
    """A denoiser by its name: MONAI's carry the prefix `monai.`."""
    if name.startswith("monai."):
        return theirs(spatial_dims, width, attention=name.endswith("@attention"))
    return ours("ddpm_unet", spatial_dims, width, checkpointing=name.endswith("@checkpointing"))


class Denoising(Workload):
    """A denoiser with noisy images and time steps, to be trained by a step and to infer. Args as :class:`Workload`."""

    build = staticmethod(build)
    smallest_side = 16

    def __init__(self, name: str, width: float, problem: Problem, device: torch.device) -> None:
        super().__init__(name, width, problem, device)
        self.timesteps = torch.arange(problem.batch, device=device)
        self.bf16 = name.endswith("@bf16")

    def predict(self) -> torch.Tensor:
        """The predicted noise."""
        with torch.autocast(self.image.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            return self.network(self.image, self.timesteps)

    def loss(self) -> torch.Tensor:
        """Squared error."""
        return F.mse_loss(self.predict().float(), self.image)


def compare_denoisers(args: argparse.Namespace) -> tuple[str, list[dict]]:
    """A training step and inference of our denoiser and its variants, and of MONAI's of as many parameters."""
    rows: list[dict] = []
    for dims in args.spatial_dims:
        problem = (QUICK_PROBLEMS if args.quick else DENOISER_PROBLEMS)[dims]
        target = count_parameters(build(OURS, dims, 1.0))
        widths = dict.fromkeys((OURS, *VARIANTS), (1.0, target))
        for name in THEIRS:
            widths[name] = matched_width(partial(build, name, dims), target)
        measured = measure("denoiser", widths, problem, args, workload=Denoising)
        rows += [{"input": "x".join(map(str, problem.shape)), **row} for row in measured]
    columns = [
        "network",
        "input",
        "width",
        "parameters",
        *(f"{mode} {unit}" for unit in ("ms", "MiB") for mode in MODES),
    ]
    compared = ratios([row for row in rows if row["network"] not in VARIANTS])
    text = [
        markdown_table([{column: row[column] for column in columns} for row in rows]),
        "Speed: how many times as fast as MONAI's. Parameters and memory: ours over MONAI's.",
        markdown_table(compared),
    ]
    return "\n\n".join(text), rows


class Sampling:
    """Sampling with the network of a bundle, and how much of its time the network's evaluations take.

    Args:
        bundle: its name, as ddpm_unet.
        steps: of DDIM for a DDPM, of Heun's method for an EDM.
        problem: what is sampled.
        device: where it runs.

    Attributes:
        evaluations: of the network, in one sampling.
        inside: seconds of them, for each sampling.
    """

    def __init__(self, bundle: str, steps: int, problem: Problem, device: torch.device) -> None:
        self.sampler = make_sampler(bundle, steps)
        self.network = ours(bundle, problem.spatial_dims).to(device).eval()
        self.noise = torch.randn(problem.shape, generator=torch.Generator().manual_seed(0)).to(device)
        self.evaluations = 0
        self.inside: list[float] = []

    def evaluate(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """The network's prediction like ``x``, timed."""
        synchronize(x.device)
        start = time.perf_counter()
        out = self.network(x, timesteps, context)
        synchronize(x.device)
        self.evaluations += 1
        self.inside[-1] += time.perf_counter() - start
        return out

    def __call__(self) -> None:
        """Sample one batch."""
        self.evaluations = 0
        self.inside.append(0.0)
        self.sampler(self.evaluate, self.noise)


def make_sampler(bundle: str, steps: int) -> Callable[..., torch.Tensor]:
    """DDIM for a DDPM, Heun's method for an EDM."""
    from ..diffusion import HeunSampler, SchedulerSampler, make_scheduler

    return HeunSampler(steps) if bundle.startswith("edm") else SchedulerSampler(make_scheduler("ddim"), steps)


def sampling_row(sampling: Sampling, seconds: Sequence[float]) -> dict[str, float]:
    """Times of one evaluation of the network, and of what its sampler does besides, from those of whole samplings."""
    inside = sampling.inside[-len(seconds) :]
    network = statistics.median(inside) / sampling.evaluations
    rest = statistics.median(whole - part for whole, part in zip(seconds, inside)) / sampling.evaluations
    return {
        "evaluations": sampling.evaluations,
        "samples/s": sampling.noise.shape[0] / statistics.median(seconds),
        "network ms": 1000 * network,
        "rest ms": 1000 * rest,
        "rest %": 100 * rest / (network + rest),
    }


def sample_encoders(args: argparse.Namespace) -> tuple[str, list[dict]]:
    """Samples a second of each family's DDPM by DDIM and of its EDM by Heun's method."""
    problem, steps = (QUICK_SAMPLED, (2, 2)) if args.quick else (SAMPLED, (50, 18))
    device = torch.device(args.device)
    named = {f"{a}_{encoder}": (a, n) for encoder in U_SHAPED for a, n in zip(("ddpm", "edm"), steps)}
    samplings = {name: Sampling(name, n, problem, device) for name, (_, n) in named.items()}
    seconds = alternating_seconds(samplings, args.repeats, args.warmup, device)
    rows = []
    for name, (architecture, n) in named.items():
        sampler = f"{'DDIM' if architecture == 'ddpm' else 'EDM'}-{n}"
        rows.append({"bundle": name, "sampler": sampler, **sampling_row(samplings[name], seconds[name])})
    text = f"Input: {'x'.join(map(str, problem.shape))}. Times are those of one evaluation of the network."
    return f"{text}\n\n{markdown_table(rows)}", rows


class Operations(TorchDispatchMode):
    """Counts the operations that run under it, and those of them that move values from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.copies = 0, 0

    def __torch_dispatch__(
        self, operation: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run and count one."""
        out = operation(*args, **(kwargs or {}))
        devices = {x.device for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)}
        self.total, self.copies = self.total + 1, self.copies + (len(devices) > 1)
        return out


def step_operations(bundle: str, problem: Problem) -> dict[str, float]:
    """What the loop of a sampler does in each step: how many operations beside the network, how many copies with it.

    It runs on PyTorch's meta device, where a value that the host would have to wait for is an error. What is done once
    before the loop cancels out between two numbers of steps.
    """
    network, noise = ours(bundle, problem.spatial_dims).eval().to("meta"), torch.empty(problem.shape, device="meta")
    found = []
    for steps in COUNTED:
        sampler = make_sampler(bundle, steps)
        with Operations() as whole:
            sampler(network, noise)
        with Operations() as beside:
            sampler(lambda x, timesteps, context: x, noise)
        found.append((beside.total, whole.copies))
    few, many = COUNTED
    return {name: (b - a) / (many - few) for name, a, b in zip(("operations beside", "device copies"), *found)}


def profile_steps(args: argparse.Namespace) -> tuple[str, list[dict]]:
    """What a sampling step costs beside the network, over sizes and batches."""
    device = torch.device(args.device)
    rows = []
    for problem in QUICK_PROBLEMS.values() if args.quick else STEP_PROBLEMS:
        for bundle in "ddpm_unet", "edm_unet":
            sampling = Sampling(bundle, STEPS, problem, device)
            seconds = alternating_seconds({bundle: sampling}, args.repeats, args.warmup, device)[bundle]
            row = sampling_row(sampling, seconds)
            row = {name: row[name] for name in ("network ms", "rest ms", "rest %")} | step_operations(bundle, problem)
            rows.append({"input": "x".join(map(str, problem.shape)), "bundle": bundle, **row})
    text = "Times are those of one evaluation of the network, operations and copies between devices those of one step."
    return f"{text}\n\n{markdown_table(rows)}", rows


PARTS = {"denoisers": compare_denoisers, "sampling": sample_encoders, "steps": profile_steps}


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure the parts that are asked for.

    Args:
        args: parts, spatial_dims, repeats, warmup, quick, device, threads.

    Returns:
        The report in Markdown, and all numbers.
    """
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False
    text = [f"Medians of {args.repeats} rounds, fp32 but for bf16."]
    rows = {}
    for part in args.parts:
        report, rows[part] = PARTS[part](args)
        text.append(report)
    return "\n\n".join(text), {"rows": rows}


if __name__ == "__main__":
    main(workload=Denoising)
