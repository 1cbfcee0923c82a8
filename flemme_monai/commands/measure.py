"""Measurements that benchmarks share: alternating medians, peak memory, operations, matmul peak, matched widths."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MOST_TRIES = 20
RESET_PEAK = "5"  # proc(5): resets the peak resident set size


def instruction_set() -> str:
    """The vector instructions that PyTorch uses on this processor, and oneDNN's where they are limited to others."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return torch.backends.cpu.get_cpu_capability() + (f", oneDNN at most {limit}" if limit else "")


def machine() -> str:
    """One line for beside every table: threads, processor, instruction set, PyTorch and, if there is one, the GPU."""
    threads = torch.get_num_threads()
    text = f"{threads} thread{'s' if threads > 1 else ''} of {platform.machine()}, {instruction_set()}"
    if torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return f"{text}, torch {torch.__version__}."


def count_parameters(network: nn.Module) -> int:
    """Number of learnable values."""
    return sum(p.numel() for p in network.parameters())


def matched_width(
    build: Callable[[float], nn.Module],
    target: float,
    step: float = 0.005,
    tolerance: float = 0.045,
    measure: Callable[[nn.Module], float] = count_parameters,
    unit: str = "parameters",
) -> tuple[float, Any]:
    """The width at which a network comes closest to a number of parameters, which grows with the width's square.

    Args:
        build: network of a width; 1 is its usual one.
        target: number of parameters to match.
        step: widths are multiples of it.
        tolerance: largest accepted relative difference; two networks within 4.5% of a target are within 10%.
        measure: what is matched in place of the parameters, which grows with the width too.
        unit: its name.

    Returns:
        The width and its number of parameters, or what is matched.

    Raises:
        ValueError: If the closest is not close enough.
    """
    counts: dict[float, float] = {}
    width, low, high = 1.0, 0.0, math.inf  # the width between has the number
    while width not in counts and len(counts) < MOST_TRIES:
        counts[width] = measure(build(width))
        low, high = (max(low, width), high) if counts[width] < target else (low, min(high, width))
        width = step * max(1, round(width * (target / counts[width]) ** 0.5 / step))
        if not low < width < high:
            width = step * round((low + min(high, 2 * low)) / 2 / step)
    width = min(counts, key=lambda w: abs(counts[w] - target))
    if abs(counts[width] - target) > tolerance * target:
        raise ValueError(f"no width gives {target:,} {unit}: the closest, {width:g}, has {counts[width]:,}.")
    return width, counts[width]


def synchronize(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternating_seconds(
    workloads: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each work in each of `repeats` rounds; a round runs every work once, so drift meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in workloads}
    for turn in range(warmup + repeats):
        for name, work in workloads.items():
            synchronize(device)
            start = clock()
            work()
            synchronize(device)
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def count_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in a work, attention's included."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matmul_peak(device: torch.device, size: int, repeats: int = 5) -> float:
    """The fastest measured rate of a square fp32 matrix product, in operations a second."""
    a, b = torch.rand(2, size, size, device=device)
    seconds = alternating_seconds({"matmul": lambda: a @ b}, repeats, 1, device)["matmul"]
    return 2 * size**3 / min(seconds)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """How far a work raises the memory in use at its peak, in bytes; for a process of its own.

    On CUDA it is what PyTorch has allocated, else the process's resident memory. There, set
    `MALLOC_MMAP_THRESHOLD_` low so that freed tensors are given back at once and do not count twice.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    if CLEAR_REFS.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)  # gives back what is free, or a work would fill that first, unseen
        CLEAR_REFS.write_text(RESET_PEAK, encoding="utf-8")
        before = _status_bytes("VmRSS")
        work()
        return _status_bytes("VmHWM") - before
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def _status_bytes(field: str) -> int:
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as a Markdown table; floats below 1000 with three significant digits."""

    def cell(value: object) -> str:
        if isinstance(value, float) and abs(value) < 1000:
            return f"{value:.3g}"
        return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)

    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([cell(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
