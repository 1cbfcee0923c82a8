"""Mamba's blocks beside what runs them on a CPU elsewhere: seconds and peak memory of a forward and a backward pass.

Run as a program it prints the peak bytes of one block, for a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import nn

from ..compat.mamba_ssm.mamba import Mamba
from ..compat.mamba_ssm.mamba2 import Mamba2
from ..ops.backends import ENVIRONMENT
from .measure import alternating_seconds, markdown_table, peak_bytes
from .places import environment

STATES, HEAD = 16, 64  # per channel of Mamba; per head of Mamba-2, whose states are as many
TINY = 64


class Size(NamedTuple):
    """Sizes of a block's input: images, steps, channels."""

    images: int
    length: int
    channels: int


# blocks at 64 x 64 positions, at 16 x 16, and at 32 x 32 x 32 with SegMamba's first width
SIZES = (Size(2, 4096, 64), Size(2, 256, 384), Size(1, 32768, 48))
KINDS: dict[str, dict[str, Any]] = {
    "mamba": {},
    "bimamba v2": {"bimamba_type": "v2"},
    "bimamba v3": {"bimamba_type": "v3", "nslices": 32},
    "mamba2": {},
}
OTHERS = {"mamba": ("mambapy", "transformers"), "bimamba v2": ("mambapy",), "mamba2": ("transformers",)}


def ours(kind: str, channels: int) -> nn.Module:
    """What stands in for mamba_ssm's block."""
    if kind == "mamba2":
        return Mamba2(channels, d_state=HEAD, headdim=HEAD)
    return Mamba(channels, d_state=STATES, **KINDS[kind])


def mambapy(kind: str, channels: int) -> nn.Module:
    """The block of the package ``mambapy``, with its logarithmic scan."""
    if kind == "mamba":
        from mambapy.mamba import MambaBlock, MambaConfig

        return MambaBlock(MambaConfig(channels, 1, d_state=STATES))
    from mambapy.vim import MambaConfig, VMambaBlock

    return VMambaBlock(MambaConfig(channels, 1, d_state=STATES, bidirectional=True))


def transformers(kind: str, channels: int) -> nn.Module:
    """The block of the package ``transformers``, on its path without kernels."""
    common: dict[str, Any] = {"hidden_size": channels, "expand": 2, "num_hidden_layers": 1}
    if kind == "mamba":
        from transformers.models.mamba.modeling_mamba import MambaConfig, MambaMixer

        return MambaMixer(MambaConfig(state_size=STATES, **common), 0)
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Config, Mamba2Mixer

    heads = 2 * channels // HEAD
    settings = Mamba2Config(state_size=HEAD, num_heads=heads, head_dim=HEAD, n_groups=1, **common)
    return Mamba2Mixer(settings, 0)


MAKERS: dict[str, Callable[[str, int], nn.Module]] = {
    "ours": ours,
    "mambapy": mambapy,
    "transformers": transformers,
    "recurrence": ours,
}


@contextmanager
def scans_of(name: str) -> Iterator[None]:
    """The recurrence runs our blocks with the scan step by step; all others run as they are."""
    before = os.environ.get(ENVIRONMENT)
    if name == "recurrence":
        os.environ[ENVIRONMENT] = "reference"
    try:
        yield
    finally:
        os.environ.pop(ENVIRONMENT, None)
        if before is not None:
            os.environ[ENVIRONMENT] = before


def step(name: str, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Forward and backward; the output."""
    with scans_of(name):
        y = block(x)
        y.backward(torch.ones_like(y))
    return y.detach()


def there(name: str) -> bool:
    """Whether an implementation's package is installed."""
    return name not in ("mambapy", "transformers") or find_spec(name) is not None


def contestants(kind: str, size: Size, longest: int) -> list[str]:
    """The names of those that have a block and run it at a size; the recurrence up to ``longest`` steps."""
    names = ["ours", *(name for name in OTHERS.get(kind, ()) if there(name))]
    is_slow = ("transformers", "recurrence") if kind != "mamba2" else ("recurrence",)
    return [name for name in (*names, "recurrence") if name not in is_slow or size.length <= longest]


def made(name: str, kind: str, size: Size) -> tuple[nn.Module, torch.Tensor]:
    """A block and its input."""
    return MAKERS[name](kind, size.channels), torch.randn(size).requires_grad_()


def memory_in_process(name: str, kind: str, size: Size, threads: int) -> float:
    """Peak memory of a step in MiB, measured in a process of its own."""
    command = [sys.executable, "-m", "flemme_monai.commands.benchmark_mamba", name, kind, str(threads)]
    variables = environment(MALLOC_MMAP_THRESHOLD_="65536")
    done = subprocess.run([*command, *map(str, size)], env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) / 2**20


def sizes_of(kind: str, quick: bool) -> list[Size]:
    """The sizes of a kind of block; those that heads do not fill are left out."""
    sizes = [size for size in SIZES if kind != "mamba2" or 2 * size.channels % HEAD == 0]
    return [size._replace(length=TINY) for size in sizes[:1]] if quick else sizes


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure every block at every size.

    Args:
        args: repeats, warmup, quick, threads, and longest, the steps beyond which scans step by step are left out.

    Returns:
        The report in Markdown, and all numbers.
    """
    torch.set_num_threads(args.threads)
    rows = []
    for kind in KINDS:
        for size in sizes_of(kind, args.quick):
            names = contestants(kind, size, args.longest)
            named = {name: partial(step, name, *made(name, kind, size)) for name in names}
            seconds = alternating_seconds(named, args.repeats, args.warmup, torch.device("cpu"))
            medians = {name: statistics.median(times) for name, times in seconds.items()}
            # the median of the rounds' ratios: what slows a round down slows both
            ratios = {
                name: statistics.median(a / b for a, b in zip(times, seconds["ours"]))
                for name, times in seconds.items()
            }
            memory = {name: memory_in_process(name, kind, size, args.threads) for name in names}
            row: dict[str, object] = {"block": kind, "images, steps, channels": "x".join(map(str, size))}
            row |= {f"{name} ms": 1000 * medians[name] if name in medians else "-" for name in MAKERS}
            row |= {f"{name} / ours": ratios.get(name, "-") for name in MAKERS if name != "ours"}
            row |= {f"{name} MiB": memory.get(name, "-") for name in MAKERS}
            rows.append(row)
    text = (
        f"Medians of {args.repeats} alternating rounds, forward and backward, fp32; ratios are medians of the rounds' "
        "own. MiB: how far one pass raises the memory of a process of its own."
    )
    return f"{text}\n\n{markdown_table(rows)}", {"threads": args.threads, "rows": rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the peak bytes of one step of one block."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=tuple(MAKERS))
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("threads", type=int)
    parser.add_argument("size", type=int, nargs=3)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    size = Size(*args.size)
    step(args.name, *made(args.name, args.kind, size._replace(length=TINY)))  # loads the libraries
    work = partial(step, args.name, *made(args.name, args.kind, size))
    print(peak_bytes(work, torch.device("cpu")))


if __name__ == "__main__":
    main()
