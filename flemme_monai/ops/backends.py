"""The choice of the scans' backends: which one runs where, ``mamba_ssm``'s kernels, and operators for compilers."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from types import ModuleType

import torch
from torch.library import CustomOpDef

from .reference import ImageScanInputs, SelectiveScanInputs, SSDInputs

BACKENDS = ("reference", "torch", "numba", "c", "cuda")
ENVIRONMENT = "FLEMME_MONAI_SCAN"
PATIENCE = 2.0  # seconds; what was compiled before loads in less
logger = logging.getLogger(__name__)


def choose_backend(
    scan: str, available: Mapping[str, Callable[[], bool]], tensor: torch.Tensor, backend: str | None
) -> str:
    """The backend of a scan for a tensor's device and dtype; the choice is logged once.

    Args:
        scan: the scan's name.
        available: for each backend that the scan has, the fastest first, whether it can run here.
        tensor: one of the scan's inputs.
        backend: its name; None asks the environment variable ``FLEMME_MONAI_SCAN``, where the scan has that backend,
            then takes the first that is available.

    Returns:
        One of ``BACKENDS``.

    Raises:
        ValueError: If the backend is unknown, or was requested and cannot run here.
    """
    requested = backend or os.environ.get(ENVIRONMENT)
    if requested and requested not in BACKENDS:
        raise ValueError(f"scan backend is {requested!r}; expected one of {', '.join(BACKENDS)}")
    if requested and (backend or requested in available):
        if requested not in available or not available[requested]():
            others = [name for name in available if name != requested and available[name]()]
            raise ValueError(
                f"the {requested} backend cannot run {scan} of {tensor.dtype} on {tensor.device.type} here; "
                f"use one of {', '.join(others)}"
            )
        name = requested
    else:
        name = next(name for name in available if available[name]())
    if not torch.compiler.is_compiling():
        _log_choice(scan, tensor.device.type, str(tensor.dtype), name)
    return name


@contextmanager
def announced(message: str) -> Iterator[None]:
    """Warn of what is done within, if it takes longer than loading what was compiled before."""
    note = threading.Timer(PATIENCE, logger.warning, [message])
    note.daemon = True
    note.start()
    try:
        yield
    finally:
        note.cancel()


@lru_cache
def _log_choice(scan: str, device: str, dtype: str, name: str) -> None:
    logger.info("%s of %s on %s runs in the %s backend", scan, dtype, device, name)


def no_autocast(tensor: torch.Tensor) -> AbstractContextManager:
    """Operations on the tensor's device keep their dtype."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


def check_shapes(
    scan: str, tensors: Mapping[str, tuple[torch.Tensor | None, Sequence[int]]], beside: Mapping[str, torch.Tensor]
) -> None:
    """Refuse tensors that do not have the shape beside them.

    Args:
        scan: the scan's name.
        tensors: by name, a tensor, or None where it was left out, and its shape.
        beside: what the shapes follow from, by name, for the message.

    Raises:
        ValueError: If a shape is another.
    """
    for name, (tensor, shape) in tensors.items():
        if tensor is not None and tuple(tensor.shape) != tuple(shape):
            sizes = " and ".join(f"{name} {tuple(x.shape)}" for name, x in beside.items())
            raise ValueError(f"{scan}: {name} is {tuple(tensor.shape)}; expected {tuple(shape)} beside {sizes}")


def scan_operator(
    name: str,
    inputs: type[SelectiveScanInputs] | type[SSDInputs] | type[ImageScanInputs],
    options: Sequence[str],
    outputs: int,
    forward: Callable,
    backward: Callable,
    fake: Callable,
) -> Callable:
    """A differentiable operator of two functions, which compilers and exporters take as one node.

    ``torch.library`` knows no named tuples: the operator takes a scan's tensors one by one, then its options.

    Args:
        name: of the operator.
        inputs: class of the named tuple of the scan's tensors.
        options: types of what the scan takes beside them.
        outputs: number of the results that have a gradient.
        forward: (inputs, *options) -> these results, then the states before each chunk.
        backward: (inputs, *options, states, *the results' gradients) -> the inputs' gradients.
        fake: as ``forward``, but the results are empty.

    Returns:
        (*inputs, *options) -> what ``forward`` returns.
    """
    count, end = len(inputs._fields), len(inputs._fields) + len(options)
    flat = [f"Tensor {field}" for field in inputs._fields]
    flat += [f"{kind} option{i}" for i, kind in enumerate(options)]
    kept = ["Tensor states", *(f"Tensor gradient{i}" for i in range(outputs))]

    def named(function: Callable) -> Callable:
        return lambda *arguments: tuple(function(inputs(*arguments[:count]), *arguments[count:]))

    def define(name: str, arguments: Sequence[str], results: int, function: Callable) -> CustomOpDef:
        schema = f"({', '.join(arguments)}) -> ({', '.join(['Tensor'] * results)})"
        return torch.library.custom_op(f"flemme_monai::{name}", named(function), mutates_args=(), schema=schema)

    scan = define(name, flat, outputs + 1, forward)
    gradient = define(f"{name}_backward", flat + kept, count, backward)
    scan.register_fake(named(fake))
    gradient.register_fake(lambda *arguments: tuple(x.new_empty(x.shape) for x in arguments[:count]))

    def save(ctx, inputs, output) -> None:
        ctx.options = inputs[count:end]
        ctx.save_for_backward(*inputs[:count], output[-1])

    def differentiate(ctx, *gradients: torch.Tensor):
        *tensors, states = ctx.saved_tensors
        with no_autocast(states):
            found = gradient(*tensors, *ctx.options, states, *gradients[:outputs])
        return *found, *(None for _ in options)

    scan.register_autograd(differentiate, setup_context=save)
    return scan


@lru_cache(maxsize=1)
def cuda_kernels() -> ModuleType | None:
    """``mamba_ssm``'s interface with its compiled kernels, or None; what is missing is logged once."""
    if not torch.cuda.is_available():
        return None
    try:
        from mamba_ssm.ops import selective_scan_interface as interface
    except Exception as error:  # a build for another torch fails in many ways
        logger.info("mamba_ssm cannot be imported (%s: %s); scans run in PyTorch", type(error).__name__, error)
        return None
    if getattr(interface, "selective_scan_cuda", None) is None:
        logger.info("mamba_ssm is installed without its CUDA kernels; scans run in PyTorch")
        return None
    return interface


@torch.compiler.assume_constant_result
def cuda_available() -> bool:
    """Whether there are compiled kernels."""
    return cuda_kernels() is not None


@lru_cache(maxsize=1)
def ssd_kernel() -> Callable | None:
    """``mamba_ssm``'s chunked scan of Mamba-2, or None."""
    if cuda_kernels() is None:
        return None
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except Exception as error:  # Triton may be missing, or be another version's
        logger.info("mamba_ssm's Triton kernels cannot be imported (%s: %s)", type(error).__name__, error)
        return None
    return mamba_chunk_scan_combined


@torch.compiler.assume_constant_result
def ssd_kernel_available() -> bool:
    """Whether there is a kernel for Mamba-2."""
    return ssd_kernel() is not None
