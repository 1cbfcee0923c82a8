"""Our backbones beside MONAI's networks: training step, inference and peak memory at equal numbers of parameters."""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..registry import ENCODERS, encoders_of
from .measure import (
    alternating_seconds,
    count_flops,
    count_parameters,
    markdown_table,
    matched_width,
    matmul_peak,
    peak_bytes,
)
from .places import environment

OUT_CHANNELS = 2
MODES = ("train", "infer")


@dataclass(frozen=True)
class Problem:
    """The input that all networks of a comparison share: (batch, 1, side, ...)."""

    spatial_dims: int
    batch: int
    side: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return (self.batch, 1, *[self.side] * self.spatial_dims)


FULL = {2: Problem(2, 4, 256), 3: Problem(3, 1, 64)}
QUICK = {2: Problem(2, 1, 64), 3: Problem(3, 1, 64)}


# widths of patches, stages and middle blocks: the collection's own default, and one that doubles at every stage to
# the depth of MONAI's networks
LAYOUTS = {"": ((32,), (64, 128), (256, 256)), "pyramid": ((32,), (32, 64, 128, 256), (512,))}


# keys and values shrunk along each axis, stage by stage
REDUCED = (8, 4, 1)


def ours(name: str, spatial_dims: int, width: float) -> nn.Module:
    """A segmentation model of one of our backbones, the widths of its layout scaled.

    `UNet@pyramid` is `UNet` in that layout; `ViTU@reduced` attends to fewer keys and values; `VMambaU@mamba2` scans by
    state space duality.
    """
    from .. import architectures, backbones

    name, _, kind = name.partition("@")
    layout = LAYOUTS.get(kind, LAYOUTS[""])
    patch, stages, middle = ([max(4, 4 * round(c * width / 4)) for c in level] for level in layout)
    cls = getattr(backbones, name)
    variants: dict[str, dict[str, Any]] = {"reduced": {"spatial_reduction": REDUCED}, "mamba2": {"block": "mamba2"}}
    blocks = variants.get(kind, {})
    if cls.family_type is backbones.ConvFamily:
        blocks = {"norm": "batch", "act": "relu"}
    backbone = cls(
        spatial_dims,
        1,
        OUT_CHANNELS,
        family=cls.family_type(**blocks),
        patch_channels=patch[0],
        channels=stages,
        middle_channels=middle,
    )
    return architectures.SeM(backbone)


def monai_network(name: str, spatial_dims: int, width: float) -> nn.Module:
    """One of MONAI's networks with its usual settings, its usual widths scaled; SwinUNETR's unit is 12 features."""
    from monai.networks import nets

    def scaled(*channels: int) -> list[int]:
        return [max(1, round(c * width)) for c in channels]

    if name == "BasicUNet":
        return nets.BasicUNet(spatial_dims, 1, OUT_CHANNELS, features=scaled(32, 32, 64, 128, 256, 32))
    if name == "UNet":
        channels = scaled(16, 32, 64, 128, 256)
        return nets.UNet(spatial_dims, 1, OUT_CHANNELS, channels, strides=(2, 2, 2, 2), num_res_units=2)
    if name == "DynUNet":
        filters = scaled(32, 64, 128, 256, 320)
        return nets.DynUNet(spatial_dims, 1, OUT_CHANNELS, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, filters=filters)
    if name == "SwinUNETR":
        return nets.SwinUNETR(1, OUT_CHANNELS, feature_size=12 * int(width), spatial_dims=spatial_dims)
    raise ValueError(f"no MONAI network '{name}' in this comparison: BasicUNet, UNet, DynUNet, SwinUNETR.")


def build(name: str, spatial_dims: int, width: float) -> nn.Module:
    """A network by its name: MONAI's carry the prefix `monai.`."""
    prefix, _, short_name = name.rpartition(".")
    return (monai_network if prefix else ours)(short_name, spatial_dims, width)


def _of_family(family: str) -> list[str]:
    return [row.name for row in ENCODERS.values() if row.family == family]


# our backbones, MONAI's networks, and the network that sets the number of parameters for all of them
GROUPS = {
    "conv": ((*_of_family("conv"), "UNet@pyramid"), ("monai.BasicUNet", "monai.UNet", "monai.DynUNet")),
    "swin": ((*_of_family("swin"), "SwinU@pyramid"), ("monai.SwinUNETR",)),
}


def matched_widths(group: str, spatial_dims: int, quick: bool = False) -> dict[str, tuple[float, int]]:
    """Width and number of parameters of each network of a group, all within 4.5% of one number.

    That number is the default UNet's for conv networks. For Swin networks it is the SwinUNETR's that is closest to the
    default SwinU, since SwinUNETR comes in steps of 12 features only.
    """
    mine, theirs = GROUPS[group]
    target = count_parameters(build(mine[1], spatial_dims, 0.5 if quick else 1.0))
    fixed: dict[str, tuple[float, int]] = {}
    if group == "swin":
        counts = {float(w): count_parameters(build(theirs[0], spatial_dims, w)) for w in (1, 2, 3, 4)}
        width = min(counts, key=lambda w: abs(counts[w] - target))
        target, fixed = counts[width], {theirs[0]: (width, counts[width])}
    return {
        name: fixed.get(name) or matched_width(partial(build, name, spatial_dims), target) for name in mine + theirs
    }


class Workload:
    """A network with an input, to be trained by a step and to infer.

    Args:
        name: name for ``build``.
        width: scale of its widths.
        problem: the input's size.
        device: where it runs.
    """

    build = staticmethod(build)
    smallest_side = 64  # that all networks train on: SwinUNETR's

    def __init__(self, name: str, width: float, problem: Problem, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(problem.shape, generator=generator).to(device)
        self.label = (self.image[:, 0] > 0.5).long()
        self.network = self.build(name, problem.spatial_dims, width).to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters())

    def predict(self) -> torch.Tensor:
        """The network's output."""
        return self.network(self.image)

    def loss(self) -> torch.Tensor:
        """What training lowers."""
        return F.cross_entropy(self.predict(), self.label)

    def train(self) -> None:
        """Forward, backward, optimizer step."""
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def infer(self) -> None:
        """Forward without gradients."""
        with torch.inference_mode():
            self.predict()

    def work(self, mode: str) -> Callable[[], None]:
        """One of the two, the network being put in that mode."""
        self.network.train(mode == "train")
        return {"train": self.train, "infer": self.infer}[mode]


def measure(
    group: str,
    widths: dict[str, tuple[float, int]],
    problem: Problem,
    args: argparse.Namespace,
    operations: bool = True,
    workload: type[Workload] = Workload,
) -> list[dict]:
    """A row of measurements for each network of a group, given its width and number of parameters.

    Counting operations builds the matrix of attention, which does not fit for many tokens.
    """
    device = torch.device(args.device)
    rows = {
        name: {"network": name, "dims": problem.spatial_dims, "group": group, "width": width, "parameters": parameters}
        for name, (width, parameters) in widths.items()
    }
    loads = {name: workload(name, width, problem, device) for name, (width, _) in widths.items()}
    for mode in MODES:
        workloads = {name: load.work(mode) for name, load in loads.items()}
        seconds = alternating_seconds(workloads, args.repeats, args.warmup, device)
        for name, row in rows.items():
            median = statistics.median(seconds[name])
            row[f"{mode} ms"] = 1000 * median
            if operations:
                row[f"{mode} GFLOP/s"] = count_flops(workloads[name]) / median / 1e9
            row[f"{mode} rounds ms"] = [1000 * s for s in seconds[name]]
    del loads, workloads
    for name, row in rows.items():
        row.update(memory_in_process(name, widths[name][0], problem, args, workload.__module__.rpartition(".")[2]))
    return list(rows.values())


def memory_in_process(
    name: str, width: float, problem: Problem, args: argparse.Namespace, module: str = "benchmark_networks"
) -> dict[str, float]:
    """Peak memory of one network's training and inference in MiB, measured in a process of its own.

    The module is one of this folder that calls :func:`main`.
    """
    sizes = [str(size) for size in (problem.spatial_dims, problem.batch, problem.side)]
    command = [sys.executable, "-m", f"{__package__}.{module}", name, str(width), *sizes, "--device", args.device]
    command += ["--threads", str(args.threads)]
    variables = environment(MALLOC_MMAP_THRESHOLD_="65536")
    done = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return {f"{mode} MiB": int(size) / 2**20 for mode, size in zip(MODES, done.stdout.split()[-2:])}


def ratios(rows: Sequence[dict]) -> list[dict]:
    """Each of our networks against each of MONAI's of its group: how many times as fast, how much of the memory."""
    result = []
    for mine in (row for row in rows if not row["network"].startswith("monai.")):
        for other in rows:
            if (other["group"], other["dims"]) != (mine["group"], mine["dims"]) or "monai." not in other["network"]:
                continue
            result.append(
                {
                    "ours": mine["network"],
                    "MONAI's": other["network"].removeprefix("monai."),
                    "dims": mine["dims"],
                    "parameters": mine["parameters"] / other["parameters"],
                    **{f"{m} speed": other[f"{m} ms"] / mine[f"{m} ms"] for m in MODES},
                    **{f"{m} memory": mine[f"{m} MiB"] / other[f"{m} MiB"] for m in MODES},
                }
            )
    return result


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure every group in every number of dimensions.

    Args:
        args: spatial_dims, groups, repeats, warmup, quick, device, threads.

    Returns:
        The report in Markdown, and all numbers.
    """
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(args.device)
    size = 512 if args.quick else 8192 if device.type == "cuda" else 2048
    problems = [(QUICK if args.quick else FULL)[spatial_dims] for spatial_dims in args.spatial_dims]
    peak, rows = matmul_peak(device, size), []
    for problem in problems:
        for group in args.groups:
            peak = max(peak, matmul_peak(device, size))
            rows += measure(group, matched_widths(group, problem.spatial_dims, args.quick), problem, args)
    peak = max(peak, matmul_peak(device, size))
    for row in rows:
        row.update({f"{mode} % of peak": 100 * row[f"{mode} GFLOP/s"] * 1e9 / peak for mode in MODES})

    cuda = device.type == "cuda"
    facts = {
        "machine": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": args.threads,
        "matmul peak GFLOP/s": peak / 1e9,
        "rounds": args.repeats,
        "inputs": [problem.shape for problem in problems],
        "quick": args.quick,
    }
    columns = ["network", "dims", "width", "parameters"]
    columns += [f"{mode} {unit}" for unit in ("ms", "% of peak", "MiB") for mode in MODES]
    text = [
        f"Medians of {args.repeats} alternating rounds, fp32. Matmul peak measured in the same run: "
        f"{peak / 1e9:.0f} GFLOP/s. "
        f"Inputs: {', '.join('x'.join(map(str, shape)) for shape in facts['inputs'])}.",
        markdown_table([{column: row[column] for column in columns} for row in rows]),
        "Speed: how many times as fast as MONAI's. Parameters and memory: ours over MONAI's.",
        markdown_table(ratios(rows)),
    ]
    return "\n\n".join(text), {"facts": facts, "rows": rows, "ratios": ratios(rows)}


U_SHAPED = (*(ENCODERS[key].name for key in encoders_of("skip")), "ViTU@reduced", "VMambaU@mamba2")
ENCODER_PROBLEMS = (Problem(2, 2, 128), Problem(2, 2, 256), Problem(3, 1, 64), Problem(3, 1, 96))
MOST_TOKENS = 40_000  # beyond, attention of all to all takes minutes per step


def compare_encoders(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure our U-shaped encoders at equal depth and widths, beside the convolutional one.

    Args:
        args: repeats, warmup, quick, device, threads.

    Returns:
        The report in Markdown, and all numbers.
    """
    torch.set_num_threads(args.threads)
    rows: list[dict] = []
    for problem in QUICK.values() if args.quick else ENCODER_PROBLEMS:
        dims = problem.spatial_dims
        names = [n for n in U_SHAPED if n != "ViTU" or (problem.side // 2) ** dims <= MOST_TOKENS]
        widths = {name: (1.0, count_parameters(build(name, dims, 1.0))) for name in names}
        measured = measure("encoders", widths, problem, args, operations=False)
        base = next(row for row in measured if row["network"] == "UNet")
        for row in measured:
            row["input"] = "x".join(map(str, problem.shape))
            row["train / UNet"] = row["train ms"] / base["train ms"]
            row["infer / UNet"] = row["infer ms"] / base["infer ms"]
        rows += measured
    columns = ["input", "network", "parameters", "train ms", "train / UNet", "infer ms", "infer / UNet"]
    columns += ["train MiB", "infer MiB"]
    text = [
        f"Medians of {args.repeats} alternating rounds, fp32.",
        markdown_table([{column: row[column] for column in columns} for row in rows]),
    ]
    return "\n\n".join(text), {"rows": rows}


def main(argv: Sequence[str] | None = None, workload: type[Workload] = Workload) -> None:
    """Print the peak bytes of building one network and two training steps, then of building and two inferences."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name")
    parser.add_argument("width", type=float)
    for size in ("spatial_dims", "batch", "side"):
        parser.add_argument(size, type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    def work(problem: Problem, mode: str) -> None:
        step = workload(args.name, args.width, problem, device).work(mode)
        step()
        step()

    work(Problem(args.spatial_dims, 1, workload.smallest_side), "train")  # loads the libraries
    problem = Problem(args.spatial_dims, args.batch, args.side)
    print(*(peak_bytes(partial(work, problem, mode), device) for mode in MODES))


if __name__ == "__main__":
    main()
