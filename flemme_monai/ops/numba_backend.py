"""The selective scan in compiled loops, on as many threads as PyTorch uses."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType

import torch

from .backends import announced
from .reference import SelectiveScanInputs

CHUNK = 64
logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def kernels() -> ModuleType | None:
    """The compiled loops, or None; what is missing is logged once.

    The first call on a machine compiles them, and says so; later ones read the cache.
    """
    try:
        import numba  # noqa: F401 (only what follows compiles)
    except Exception as error:  # it asks for its own versions of numpy
        _log_broken(error)
        return None
    try:
        with announced("compiling the selective scan for this processor, once: about 10 seconds"):
            from . import numba_kernels
    except Exception as error:  # it wants a folder for its cache
        _log_broken(error)
        return None
    return numba_kernels


def _log_broken(error: Exception) -> None:
    logger.warning("numba does not work (%s: %s); scans run in PyTorch", type(error).__name__, error)


@torch.compiler.assume_constant_result
def numba_available() -> bool:
    """Whether there are compiled loops."""
    return kernels() is not None


@lru_cache(maxsize=1)
def thread_pool(threads: int, process: int) -> ThreadPoolExecutor:
    """As many threads as PyTorch uses, of one process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="flemme_monai-scan")


def _blocks(images: int, groups: int, channels: int, width: int) -> list[tuple[int, int, int, int, int]]:
    """Image, group, number of the block in the group, first channel and number of channels of each task.

    Args:
        images, groups, channels: of the scan; channels are those of a group.
        width: channels of a block.
    """
    return [
        (image, group, block, first, min(width, channels - first))
        for image in range(images)
        for group in range(groups)
        for block, first in enumerate(range(0, channels, width))
    ]


def _loops() -> ModuleType:
    """The compiled loops, where :func:`numba_available` has found them."""
    found = kernels()
    assert found is not None, "numba does not work"
    return found


def _run(task: Callable[..., None], blocks: list[tuple[int, int, int, int, int]]) -> None:
    """Run a task for every block. A block's result does not depend on the number of threads."""
    threads = min(torch.get_num_threads(), len(blocks))
    if threads < 2 or not threading.main_thread().is_alive():  # an interpreter that ends starts no threads
        for block in blocks:
            task(*block)
    else:
        list(thread_pool(torch.get_num_threads(), os.getpid()).map(lambda block: task(*block), blocks))


def _check(inputs: SelectiveScanInputs) -> None:
    """The loops read memory by these shapes, unchecked."""
    images, groups, length, channels = inputs.u.shape
    states = inputs.A.shape[-1]
    wide, narrow, single = (images, groups, length, channels), (images, groups, length, states), (groups, channels)
    expected = (wide, wide, (*single, states), narrow, narrow, single, single)
    for name, x, shape in zip(inputs._fields, inputs, expected):
        if tuple(x.shape) != shape or x.dtype != torch.float32:
            raise ValueError(
                f"selective scan: {name} is {tuple(x.shape)} of {x.dtype}; expected {shape} of torch.float32"
            )


def forward(inputs: SelectiveScanInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`.torch_backend.forward`, for float32 on the CPU."""
    _check(inputs)
    loops, u, A = _loops(), inputs.u, inputs.A
    images, groups, length, channels = u.shape
    y = u.new_empty(u.shape)
    chunk_states = u.new_empty((images, groups, -(-length // CHUNK) + 1, A.shape[2], channels))
    arrays = [x.contiguous().numpy() for x in inputs]
    scan, out, states = loops.forward, y.numpy(), chunk_states.numpy()

    def task(image: int, group: int, block: int, first: int, count: int) -> None:
        scan(*arrays, softplus, out, states, CHUNK, image, group, first, count)

    _run(task, _blocks(images, groups, channels, loops.WIDTH))
    return y, chunk_states


def backward(
    inputs: SelectiveScanInputs, softplus: bool, chunk_states: torch.Tensor, dy: torch.Tensor
) -> SelectiveScanInputs:
    """As :func:`.torch_backend.backward`, for float32 on the CPU."""
    _check(inputs)
    loops, u, A, B, D = _loops(), inputs.u, inputs.A, inputs.B, inputs.D
    images, groups, _, channels = u.shape
    blocks = _blocks(images, groups, channels, loops.WIDTH)
    parts = 1 + max(block for _, _, block, _, _ in blocks)
    du, ddelta = u.new_empty(u.shape), u.new_empty(u.shape)
    dA, dD, dbias = (u.new_empty((images, *x.shape)) for x in (A, D, inputs.bias))
    dB, dC = u.new_empty((parts, *B.shape)), u.new_empty((parts, *B.shape))  # a part for each block of a group
    arrays = [x.contiguous().numpy() for x in (dy, *inputs)]
    states, results = chunk_states.numpy(), [x.numpy() for x in (du, ddelta, dA, dB, dC, dD, dbias)]
    scan = loops.backward

    def task(image: int, group: int, block: int, first: int, count: int) -> None:
        scan(*arrays, softplus, states, CHUNK, image, group, block, first, count, *results)

    _run(task, blocks)
    return SelectiveScanInputs(du, ddelta, dA.sum(0), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0))
