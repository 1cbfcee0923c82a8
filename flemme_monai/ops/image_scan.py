"""The selective scans of an image in all orders of its tokens, put back in place and added, in one operator.

Nothing of the size of orders x tokens x channels is made but the states before each chunk of tokens. It needs a C
compiler when it is first used.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from concurrent.futures import wait
from functools import lru_cache
from pathlib import Path

import torch

from .backends import ENVIRONMENT, scan_operator
from .compiled import library
from .numba_backend import thread_pool
from .reference import ImageScanInputs

TASKS = 8  # of all images in the backward pass at least, where there are as many blocks of channels
logger = logging.getLogger(__name__)
_SIZES = ("images", "tokens", "orders", "channels", "states", "decays", "rank", "splits")
_ARRAYS = (
    "x", "rows", "dt_proj", "A", "D", "bias", "order", "y", "before", "dy", "dx", "drows", "ddt_proj", "dA", "dbias",
)  # fmt: skip


class _Scan(ctypes.Structure):
    """As ``Scan`` in ``image_scan.c``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("next", ctypes.c_longlong),
        ("done", ctypes.c_void_p),
    )


@lru_cache(maxsize=1)
def kernels() -> ctypes.CDLL | None:
    """The compiled loops, or None; what is missing is logged once."""
    try:
        found = library(Path(__file__).with_name("image_scan.c"))
    except FileNotFoundError as error:
        logger.info("there is no C compiler (%s); the orders of an image's scan are scanned apart", error)
        return None
    except OSError as error:
        logger.warning("the scan of images cannot be compiled (%s); its orders are scanned apart", error)
        return None
    for function in ("image_scan_lanes", "image_scan_steps", "image_scan_size"):
        getattr(found, function).restype = ctypes.c_int64
    assert found.image_scan_size() == ctypes.sizeof(_Scan), "image_scan.c and image_scan.py disagree"
    return found


@torch.compiler.assume_constant_result
def image_scan_available() -> bool:
    """Whether the loops are compiled, or can be."""
    return kernels() is not None


def image_scan_chosen(x: torch.Tensor) -> bool:
    """Whether :func:`image_scan` runs for tokens ``x`` here: on the CPU, in at most float32, in no exported program."""
    if torch.jit.is_tracing() or torch.compiler.is_exporting() or x.device.type != "cpu" or x.dtype == torch.float64:
        return False
    requested = os.environ.get(ENVIRONMENT)
    if x.numel() == 0 or requested not in (None, "", "c"):
        return False
    if requested and not image_scan_available():
        raise ValueError(f"{ENVIRONMENT} is c and image_scan.c cannot be compiled here; use one of numba, torch")
    return image_scan_available()


def _loops() -> ctypes.CDLL:
    found = kernels()
    assert found is not None, "there are no compiled loops"
    return found


def _states(rows: torch.Tensor, dt_proj: torch.Tensor) -> int:
    """Number of states N."""
    return (rows.shape[3] - dt_proj.shape[1]) // 2


def _run(function: str, inputs: ImageScanInputs, splits: int, **tensors: torch.Tensor) -> None:
    """Work on all tasks of a scan, on as many threads as PyTorch uses.

    Args:
        function: of the loops.
        inputs: of the scan.
        splits: tasks of an image.
        tensors: what else it reads or writes, by their names in ``Scan``.
    """
    x, rows, dt_proj = inputs.x, inputs.rows, inputs.dt_proj
    images, tokens, channels = x.shape
    done = torch.zeros(images * splits, dtype=torch.int64)
    scan = _Scan(
        images=images, tokens=tokens, orders=dt_proj.shape[0], channels=channels, states=_states(rows, dt_proj),
        decays=inputs.A.shape[1], rank=dt_proj.shape[1], splits=splits, done=done.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in {**inputs._asdict(), **tensors}.items()},
    )  # fmt: skip
    work = getattr(_loops(), function)
    threads = min(torch.get_num_threads(), images * splits)
    if threads > 1 and threading.main_thread().is_alive():  # an interpreter that ends starts no threads
        pool = thread_pool(torch.get_num_threads(), os.getpid())
        others = [pool.submit(work, ctypes.byref(scan)) for _ in range(threads - 1)]
        work(ctypes.byref(scan))
        wait(others)
    else:
        work(ctypes.byref(scan))


def _check(inputs: ImageScanInputs) -> None:
    """The loops read memory by these shapes, unchecked."""
    x, rows, dt_proj, A, order = inputs.x, inputs.rows, inputs.dt_proj, inputs.A, inputs.order
    (images, tokens, channels), (orders, rank, _), states = x.shape, dt_proj.shape, _states(rows, dt_proj)
    shapes = {
        "x": (images, tokens, channels),
        "rows": (images, tokens, orders, rank + 2 * states),
        "dt_proj": (orders, rank, channels),
        "A": (orders, 1 if A.shape[1] == 1 else states, channels),
        "D": (channels,),
        "bias": (orders, channels),
    }
    for name, shape in shapes.items():
        tensor = getattr(inputs, name)
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32 or not tensor.is_contiguous():
            raise ValueError(
                f"image scan: {name} is {tuple(tensor.shape)} of {tensor.dtype}; expected {shape} of torch.float32, "
                "contiguous"
            )
    if tuple(order.shape) != (orders, tokens) or order.dtype != torch.int32 or not order.is_contiguous():
        raise ValueError(
            f"image scan: the orders are {tuple(order.shape)} of {order.dtype}; expected {(orders, tokens)} of "
            "torch.int32"
        )


def _empty(inputs: ImageScanInputs, keep: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (Z, L, E), and the states (Z, K, P, N, E) before each chunk of tokens, or nothing of them."""
    x, A = inputs.x, inputs.A
    steps = _loops().image_scan_steps()
    chunks = (x.shape[1] + steps - 1) // steps
    states = (x.shape[0], A.shape[0], chunks, _states(inputs.rows, inputs.dt_proj), x.shape[2]) if keep else (0,)
    return x.new_empty(x.shape), x.new_empty(states)


def _forward(inputs: ImageScanInputs, keep: bool) -> tuple[torch.Tensor, torch.Tensor]:
    _check(inputs)
    y, before = _empty(inputs, keep)
    kept = {"before": before} if keep else {}
    _run("image_scan_forward", inputs, -(-y.shape[2] // _loops().image_scan_lanes()), y=y, **kept)
    return y, before


def _backward(inputs: ImageScanInputs, keep: bool, before: torch.Tensor, dy: torch.Tensor) -> ImageScanInputs:
    x, rows, order = inputs.x, inputs.rows, inputs.order
    images, _, channels = x.shape
    splits = min(-(-channels // _loops().image_scan_lanes()), -(-TASKS // images))
    dx, drows = torch.empty_like(x), torch.empty_like(rows)
    ddt_proj, dA, dbias = (x.new_empty(images, *v.shape) for v in (inputs.dt_proj, inputs.A, inputs.bias))
    gradients = {"dx": dx, "drows": drows, "ddt_proj": ddt_proj, "dA": dA, "dbias": dbias}
    _run("image_scan_backward", inputs, splits, before=before, dy=dy.contiguous(), **gradients)
    dD = (dy * x).sum((0, 1))
    return ImageScanInputs(dx, drows, ddt_proj.sum(0), dA.sum(0), dD, dbias.sum(0), torch.zeros_like(order))


_scan = scan_operator("image_scan", ImageScanInputs, ["bool"], 1, _forward, _backward, _empty)


def image_scan(
    x: torch.Tensor,
    rows: torch.Tensor,
    dt_proj: torch.Tensor,
    A: torch.Tensor,
    D: torch.Tensor,
    bias: torch.Tensor,
    order: torch.Tensor,
) -> torch.Tensor:
    """The selective scan of tokens in every order, its outputs added in the tokens' own places; float32 on the CPU.

    Along order k, dt = softplus(dt_proj_k^T r + bias_k), h_t = exp(dt_t A_k) h_{t-1} + dt_t B_t x_t, and
    C_t h_t + D_k x_t is added to the output at the token of step t.

    Args:
        x: tokens (Z, L, E): images, tokens, channels.
        rows: of each token and order (Z, L, K, R + 2N): what the step sizes are made of, B, and C.
        dt_proj: (K, R, E), for a rank R of the step sizes.
        A: decay (K, E, N), negative, for N states per channel; or (K, E, 1), one of all states.
        D: skip (K, E).
        bias: of the step sizes (K, E).
        order: the tokens in each order (K, L), permutations, int32.

    Returns:
        (Z, L, E).
    """
    tensors = (x, rows, dt_proj, A, D, bias)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    contiguous = [tensor.contiguous() for tensor in (x, rows, dt_proj, A.mT, D.sum(0), bias, order.int())]
    return _scan(*contiguous, keep)[0]
