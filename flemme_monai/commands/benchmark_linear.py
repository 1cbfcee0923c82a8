"""Linear layers as matrix products and as 1x1 convolutions, on this processor and as one with AVX2 alone.

Run as a program it prints the seconds of one kind of processor, for a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F

from .measure import alternating_seconds, instruction_set, markdown_table
from .places import environment

# tokens, channels in, channels out: of the collection's transformers and Mamba networks
SHAPES = ((8192, 64, 256), (8192, 256, 64), (8192, 64, 192), (8192, 128, 512), (8192, 512, 128), (2048, 256, 1024))
QUICK = ((64, 8, 16),)
KINDS = {"as it is": {}, "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}
MODES = ("train", "infer")


def convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A linear layer as :class:`flemme_monai.blocks.Linear` runs it on AVX-512."""
    image = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    return F.conv2d(image, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def step(layer: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], mode: str) -> None:
    """Forward, and in training backward."""
    with torch.set_grad_enabled(mode == "train"):
        y = layer(*inputs)
        if mode == "train":
            torch.autograd.grad(y, inputs, torch.ones_like(y))


def measure(repeats: int, warmup: int, quick: bool) -> dict:
    """The least seconds of each way, shape and mode, and the instruction set that PyTorch uses here."""
    rows = []
    for tokens, width, out in QUICK if quick else SHAPES:
        shapes = ((tokens, width), (out, width), (out,))
        inputs = [torch.randn(shape).requires_grad_() for shape in shapes]
        row: dict[str, object] = {"tokens": tokens, "channels": f"{width} to {out}"}
        for mode in MODES:
            workloads = {
                "linear": partial(step, F.linear, inputs, mode),
                "convolution": partial(step, convolution, inputs, mode),
            }
            times = alternating_seconds(workloads, repeats, warmup, torch.device("cpu"))
            least = {name: 1000 * min(values) for name, values in times.items()}
            row |= {f"{mode} {name} ms": value for name, value in least.items()}
            row[f"{mode} ratio"] = least["convolution"] / least["linear"]
        rows.append(row)
    return {"instructions": instruction_set(), "rows": rows}


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure both kinds of processor, each in a process of its own.

    Args:
        args: repeats, warmup, quick and threads.

    Returns:
        The report in Markdown, and all numbers.
    """
    text = [f"The least of {args.repeats} alternating rounds, fp32. A ratio above 1: the linear layer is faster."]
    results = {}
    numbers = (args.threads, args.repeats, args.warmup, int(args.quick))
    command = [sys.executable, "-m", "flemme_monai.commands.benchmark_linear", *map(str, numbers)]
    for kind, variables in KINDS.items():
        done = subprocess.run(
            command, env=environment(**variables), check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        results[kind] = json.loads(done.stdout.splitlines()[-1])
        text += [f"{results[kind]['instructions']} ({kind}):", markdown_table(results[kind]["rows"])]
    return "\n\n".join(text), results


def main(argv: Sequence[str] | None = None) -> None:
    """Print the measurements of this process's kind of processor as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name in ("threads", "repeats", "warmup", "quick"):
        parser.add_argument(name, type=int)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    print(json.dumps(measure(args.repeats, args.warmup, bool(args.quick))))


if __name__ == "__main__":
    main()
