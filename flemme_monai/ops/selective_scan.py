"""The selective scan of Mamba, one function over several backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType

import torch
import torch.nn.functional as F

from . import exported, numba_backend, reference, torch_backend
from .backends import (
    ENVIRONMENT,
    check_shapes,
    choose_backend,
    cuda_available,
    cuda_kernels,
    no_autocast,
    scan_operator,
)
from .image_scan import image_scan_available
from .reference import SelectiveScanInputs


def _operator(name: str, module: ModuleType, chunk_of: Callable[[torch.Tensor], int]) -> Callable:
    def fake(inputs: SelectiveScanInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, groups, length, channels = inputs.u.shape
        chunk = chunk_of(inputs.A)
        count = (length + chunk - 1) // chunk + 1
        chunk_states = inputs.u.new_empty((images, groups, count, inputs.A.shape[2], channels))
        return inputs.u.new_empty(inputs.u.shape), chunk_states

    return scan_operator(
        f"selective_scan_{name}", SelectiveScanInputs, ["bool"], 1, module.forward, module.backward, fake
    )


_torch = _operator("torch", torch_backend, torch_backend.chunk_of)
_numba = _operator("numba", numba_backend, lambda A: numba_backend.CHUNK)


def prepare_scans() -> None:
    """Compile or load what scans on the CPU will need, so that the first of them does not wait for it."""
    requested = os.environ.get(ENVIRONMENT)
    if requested in (None, "c") and image_scan_available():
        return
    if requested in (None, "numba"):
        numba_backend.kernels()


MOST_STATES = 256  # that mamba_ssm's kernels hold


def _run(inputs: SelectiveScanInputs, softplus: bool, backend: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (Z, G, L, W) and last state (Z, G, W, N) of a scan."""
    u, A = inputs.u, inputs.A
    if torch.jit.is_tracing():
        return exported.traced_forward(inputs, softplus)
    if torch.compiler.is_exporting():
        return exported.forward(inputs, softplus)
    if u.numel() == 0:
        return sum(x.sum() for x in inputs) + u, u.new_zeros(u.shape[0], *A.shape)
    single = u.dtype == torch.float32
    available = {
        "cuda": lambda: u.is_cuda and single and A.shape[-1] <= MOST_STATES and cuda_available(),
        "numba": lambda: u.device.type == "cpu" and single and numba_backend.numba_available(),
        "torch": lambda: True,
        "reference": lambda: True,
    }
    with no_autocast(u):
        name = choose_backend("selective scan", available, u, backend)
        if name == "reference":
            return reference.forward(inputs, softplus)
        if name == "cuda":
            return _cuda(inputs, softplus)
        rows = [x.contiguous() for x in inputs]  # here and not in the operators, whose backward pass takes them too
        y, chunk_states = (_numba if name == "numba" else _torch)(*rows, softplus)
        return y, chunk_states[:, :, -1].mT


def _cuda(inputs: SelectiveScanInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    # (Z, G, L, W) -> (Z, G * W, L), (Z, G, L, N) -> (Z, G, N, L), and (G, W, ...) -> (G * W, ...)
    u, delta, B, C = (x.transpose(2, 3) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    A, D, bias = (x.flatten(0, 1) for x in (inputs.A, inputs.D, inputs.bias))
    interface = cuda_kernels()
    assert interface is not None, "mamba_ssm has no kernels"
    y, last = interface.selective_scan_fn(
        u.flatten(1, 2), delta.flatten(1, 2), A, B, C, D, None, bias, softplus, return_last_state=True
    )
    return y.view(u.shape).transpose(2, 3), last.unflatten(1, u.shape[1:3])


def _passes(u: torch.Tensor) -> ModuleType:
    """The backend whose passes :func:`scan_with_states` and :func:`scan_gradients` call."""
    available = {
        "numba": lambda: u.device.type == "cpu" and u.dtype == torch.float32 and numba_backend.numba_available(),
        "torch": lambda: True,
    }
    return numba_backend if choose_backend("selective scan", available, u, None) == "numba" else torch_backend


def scan_with_states(inputs: SelectiveScanInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """A scan for who writes the backward pass: its output (Z, G, L, W), and the states before each chunk and at last.

    The inputs are contiguous, the states (Z, G, chunks + 1, N, W).
    """
    with torch.no_grad(), no_autocast(inputs.u):
        return _passes(inputs.u).forward(inputs, softplus)


def scan_gradients(
    inputs: SelectiveScanInputs, softplus: bool, chunk_states: torch.Tensor, dy: torch.Tensor
) -> SelectiveScanInputs:
    """The inputs' gradients, from those of the output, and the states of :func:`scan_with_states`."""
    with torch.no_grad(), no_autocast(inputs.u):
        return _passes(inputs.u).backward(inputs, softplus, chunk_states.contiguous(), dy)


def grouped_selective_scan(inputs: SelectiveScanInputs, softplus: bool) -> torch.Tensor:
    """Output (Z, G, L, W) of the scan of float32 or float64 features.

    It can be scripted, traced, compiled and exported.
    """
    if torch.jit.is_scripting():
        return reference.forward(inputs, softplus)[0]
    return _run(inputs, softplus, None)[0]


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,  y_t = C_t h_t + D u_t (Gu and Dao 2023, eq. 2 and 4).

    A is discretised by a zero-order hold, B by Euler's method.

    Arguments and results are those of ``mamba_ssm``'s ``selective_scan_fn``, for real A and for B and C that vary in
    time. It computes in float64 for float64 input, else in float32; gradients are of first order and in reverse mode.

    Args:
        u: input (B, D, L): images, channels, steps.
        delta: step sizes (B, D, L).
        A: decay (D, N), for N states per channel.
        B: input matrix, from the input to the state: (B, N, L), or (B, G, N, L) for G groups of channels.
        C: output matrix, from the state to the output, as B.
        D: skip (D), or None.
        z: gate (B, D, L): the output times SiLU(z); or None.
        delta_bias: (D), added to delta, or None.
        delta_softplus: whether delta, with its bias, goes through softplus.
        return_last_state: whether the last state is returned too; it has no gradient.
        backend: ``reference``, ``torch``, ``numba`` or ``cuda``; None asks the environment variable
            ``FLEMME_MONAI_SCAN``, then takes the fastest that is there.

    Returns:
        y (B, D, L) in the input's dtype; with ``return_last_state`` also the last state (B, D, N).

    Raises:
        ValueError: If shapes do not fit each other, or the backend cannot run here.
    """
    if not torch.jit.is_tracing():
        _check(u, A, B, C, {"delta": delta, "D": D, "z": z, "delta_bias": delta_bias})
    dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    D = u.new_zeros(u.shape[1]) if D is None else D
    bias = u.new_zeros(u.shape[1]) if delta_bias is None else delta_bias
    B, C = (x.unsqueeze(1) if x.ndim == 3 else x for x in (B, C))
    groups = (B.shape[1], -1)
    # (B, D, L) -> (B, G, L, D / G), (B, G, N, L) -> (B, G, L, N), (D, ...) -> (G, D / G, ...)
    rows = [x.unflatten(1, groups).transpose(2, 3) for x in (u, delta)] + [x.transpose(2, 3) for x in (B, C)]
    u_rows, delta_rows, B, C = (x.to(dtype) for x in rows)
    A, D, bias = (x.unflatten(0, groups).to(dtype) for x in (A, D, bias))
    y, last = _run(SelectiveScanInputs(u_rows, delta_rows, A, B, C, D, bias), delta_softplus, backend)
    y = y.transpose(2, 3).reshape(u.shape)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    y = y.to(u.dtype)
    return (y, last.detach().flatten(1, 2)) if return_last_state else y


def _check(
    u: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, others: Mapping[str, torch.Tensor | None]
) -> None:
    if u.ndim != 3 or A.ndim != 2 or any(x.is_complex() for x in (A, B, C)):
        raise ValueError(
            f"selective scan: u is {tuple(u.shape)} and A {tuple(A.shape)}; expected (B, D, L) and (D, N), A, B and C "
            "real"
        )
    images, channels, length = u.shape
    states = A.shape[1]
    groups = B.shape[1] if B.ndim == 4 else 1
    rows = (images, groups, states, length) if B.ndim == 4 else (images, states, length)
    shapes = {"delta": u.shape, "D": (channels,), "z": u.shape, "delta_bias": (channels,), "A": (channels, states)}
    shapes |= {"B": rows, "C": rows}
    tensors = {**others, "A": A, "B": B, "C": C}
    check_shapes("selective scan", {name: (tensors[name], shapes[name]) for name in shapes}, {"u": u, "A": A})
    if groups < 1 or channels % groups:
        raise ValueError(f"selective scan: {groups} groups do not divide {channels} channels")
