"""Our scans beside others': seconds and peak memory of a forward and a backward pass.

Run as a program it prints the peak bytes of one scan, for a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .measure import alternating_seconds, markdown_table, matmul_peak, peak_bytes
from .places import environment

# vector instructions of the numba kernels for one step of one state: decay 16, state 2, output 1; and backward the
# first two again and 8 for the gradients
INSTRUCTIONS = 45
TINY = 8


class Selective(NamedTuple):
    """Sizes of a selective scan: images, channels, states, steps."""

    images: int
    channels: int
    states: int
    length: int

    def inputs(self) -> list[torch.Tensor]:
        """u, delta, A, B, C, D, as Mamba makes them."""
        sequence, states = (self.images, self.channels, self.length), (self.images, self.states, self.length)
        tensors = [torch.randn(shape) for shape in (sequence, sequence, states, states)]
        decay = -torch.arange(1.0, self.states + 1).repeat(self.channels, 1)
        tensors = [tensors[0], tensors[1] - 4, decay, *tensors[2:], torch.ones(self.channels)]
        return [x.requires_grad_() for x in tensors]


class Ssd(NamedTuple):
    """Sizes of a scan of Mamba-2: images, steps, heads, channels of a head, states."""

    images: int
    length: int
    heads: int
    width: int
    states: int

    def inputs(self) -> list[torch.Tensor]:
        """x, dt, A, B, C, D, as Mamba-2 makes them."""
        x, dt = torch.randn(self.images, self.length, self.heads, self.width), torch.randn(self[:3]) - 4
        b, c = torch.randn(2, self.images, self.length, 1, self.states)
        decay = -torch.linspace(1, 16, self.heads)
        return [x.requires_grad_() for x in (x, dt, decay, b.clone(), c.clone(), torch.ones(self.heads))]


SELECTIVE = ((2, 128, 16, 1024), (2, 128, 16, 4096), (1, 192, 16, 32768), (4, 64, 8, 4096), (1, 64, 8, 262144))
LENGTHS = (1024, 4096, 16384, 65536, 262144)
SSD = ((2, 1024, 4, 64, 64), (2, 4096, 4, 64, 64), (2, 4096, 16, 64, 64), (1, 32768, 6, 64, 64))


def selective_scan(backend: str, *inputs: torch.Tensor) -> torch.Tensor:
    """Ours."""
    from ..ops import selective_scan

    u, delta, A, B, C, D = inputs
    y = selective_scan(u, delta, A, B, C, D, delta_softplus=True, backend=backend)
    assert isinstance(y, torch.Tensor), "no last state was asked for"
    return y


def mambapy(*inputs: torch.Tensor) -> torch.Tensor:
    """The logarithmic scan of the package ``mambapy``."""
    from mambapy.pscan import pscan

    u, delta, A, B, C, D = inputs
    u, step = u.mT, F.softplus(delta.mT)  # (B, L, D)
    decay = torch.exp(step.unsqueeze(-1) * A)  # (B, L, D, N)
    h = pscan(decay, (step * u).unsqueeze(-1) * B.mT.unsqueeze(2))
    return (h @ C.mT.unsqueeze(-1)).squeeze(-1) + D * u


def ssd_scan(backend: str, *inputs: torch.Tensor) -> torch.Tensor:
    """Ours."""
    from ..ops import ssd_scan

    x, dt, A, B, C, D = inputs
    y = ssd_scan(x, dt, A, B, C, D=D, dt_softplus=True, backend=backend)
    assert isinstance(y, torch.Tensor), "no last state was asked for"
    return y


def listing(*inputs: torch.Tensor) -> torch.Tensor:
    """SSD in four matrix products over all chunks at once (Dao and Gu 2024, listing 1)."""
    x, dt, A, B, C, D = inputs
    dt = F.softplus(dt)
    skip = x * D[:, None]

    def chunks(v: torch.Tensor) -> torch.Tensor:
        return v.unflatten(1, (-1, 64))

    def sums(a: torch.Tensor) -> torch.Tensor:
        total = a.cumsum(-1)
        steps = total.unsqueeze(-1) - total.unsqueeze(-2)
        above = torch.ones(steps.shape[-2:], dtype=torch.bool).triu(1)
        return steps.masked_fill(above, -torch.inf)

    x, B, C = chunks(x * dt.unsqueeze(-1)), *(chunks(v.expand(-1, -1, x.shape[2], -1)) for v in (B, C))
    a = chunks(dt * A).permute(0, 3, 1, 2)  # (B, H, chunks, T)
    total = a.cumsum(-1)
    inside = torch.einsum("bclhn,bcshn,bhcls,bcshp->bclhp", C, B, sums(a).exp(), x)
    states = torch.einsum("bclhn,bhcl,bclhp->bchpn", B, (total[..., -1:] - total).exp(), x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], 1)
    between = sums(F.pad(total[..., -1], (1, 0))).exp()  # (B, H, chunks + 1, chunks + 1)
    states = torch.einsum("bhzc,bchpn->bzhpn", between, states)[:, :-1]
    carried = torch.einsum("bclhn,bchpn,bhcl->bclhp", C, states, total.exp())
    return (inside + carried).flatten(1, 2) + skip


def transformers(*inputs: torch.Tensor) -> torch.Tensor:
    """The scan in PyTorch operations of the package ``transformers``, in its Mamba-2's chunks of 256."""
    from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

    return mamba2_chunk_scan(*inputs[:5], chunk_size=256, D=inputs[5], dt_softplus=True)


SCANS: dict[str, dict[str, Callable[..., torch.Tensor]]] = {
    "selective": {
        "torch": partial(selective_scan, "torch"),
        "numba": partial(selective_scan, "numba"),
        "recurrence": partial(selective_scan, "reference"),
        "mambapy": mambapy,
    },
    "ssd": {"torch": partial(ssd_scan, "torch"), "listing": listing, "transformers": transformers},
}
SIZES = {"selective": (Selective, SELECTIVE), "ssd": (Ssd, SSD)}


def there(name: str) -> bool:
    """Whether an implementation's package is installed."""
    return name not in ("mambapy", "transformers") or find_spec(name) is not None


def step(scan: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Forward and backward."""
    y = scan(*inputs)
    return list(torch.autograd.grad(y, inputs, torch.ones_like(y)))


def memory_in_process(kind: str, name: str, size: Sequence[int], threads: int) -> float:
    """Peak memory of a step in MiB, measured in a process of its own."""
    command = [sys.executable, "-m", "flemme_monai.commands.benchmark_scans", kind, name, str(threads), *map(str, size)]
    variables = environment(MALLOC_MMAP_THRESHOLD_="65536")
    done = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) / 2**20


def by_length(args: argparse.Namespace) -> list[dict]:
    """A row for each length: nanoseconds per step, channel and state of one image of 64 channels and 8 states."""
    rows = []
    for length in [256, 512] if args.quick else LENGTHS:
        size = Selective(1, 64, 8, length)
        inputs = size.inputs()
        named = {name: partial(step, SCANS["selective"][name], inputs) for name in ("torch", "numba")}
        seconds = alternating_seconds(named, args.repeats, args.warmup, torch.device("cpu"))
        work = size.channels * size.states * length
        row: dict[str, object] = {"length": length}
        row |= {f"{name} ns": 1e9 * statistics.median(times) / work for name, times in seconds.items()}
        rows.append(row)
    return rows


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure every scan at every size.

    Args:
        args: repeats, warmup, quick, threads, and longest, the steps beyond which the recurrence is left out.

    Returns:
        The report in Markdown, and all numbers.
    """
    torch.set_num_threads(args.threads)
    peak = matmul_peak(torch.device("cpu"), 512 if args.quick else 2048)
    rows: dict[str, list[dict]] = {kind: [] for kind in SCANS}
    for kind, scans in SCANS.items():
        make, sizes = SIZES[kind]
        for numbers in sizes:
            size = make(*numbers)
            if args.quick:
                size = size._replace(length=256)
            inputs = size.inputs()
            named = {
                name: partial(step, scan, inputs)
                for name, scan in scans.items()
                if there(name) and (name != "recurrence" or size.length <= args.longest)
            }
            seconds = alternating_seconds(named, args.repeats, args.warmup, torch.device("cpu"))
            medians = {name: statistics.median(times) for name, times in seconds.items()}
            memory = {name: memory_in_process(kind, name, size, args.threads) for name in named}
            row: dict[str, object] = {", ".join(size._fields): "x".join(map(str, size))}
            row |= {f"{name} ms": 1000 * medians[name] if name in medians else "-" for name in scans}
            row |= {f"{name} MiB": memory.get(name, "-") for name in scans}
            if kind == "selective":
                limit = INSTRUCTIONS * size.images * size.channels * size.states * size.length / (peak / 2)
                row["numba over limit"] = medians["numba"] / limit
            rows[kind].append(row)
    rows["by length"] = by_length(args)
    text = [
        f"Medians of {args.repeats} alternating rounds, forward and backward, fp32. "
        f"Matmul peak measured in the same run: {peak / 1e9:.0f} GFLOP/s.",
        *(markdown_table(table) for table in rows.values()),
        "The last table: time per step, channel and state, of one image of 64 channels and 8 states. "
        "`numba over limit`: its time over that of the vector instructions which its formulas take "
        f"({INSTRUCTIONS} a step and state) at the rate of the matmul peak.",
    ]
    return "\n\n".join(text), {"threads": args.threads, "matmul peak GFLOP/s": peak / 1e9, "rows": rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the peak bytes of one step of one scan."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=tuple(SCANS))
    parser.add_argument("name")
    parser.add_argument("threads", type=int)
    parser.add_argument("size", type=int, nargs="+")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    size = SIZES[args.kind][0](*args.size)
    scan = SCANS[args.kind][args.name]
    step(scan, size._replace(length=64 * TINY).inputs())  # loads the libraries
    inputs = size.inputs()
    print(peak_bytes(partial(step, scan, inputs), torch.device("cpu")))


if __name__ == "__main__":
    main()
