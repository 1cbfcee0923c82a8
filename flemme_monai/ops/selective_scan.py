"""The selective scan of Mamba, one function over several backends."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F

from . import exported, numba_backend, reference, torch_backend
from .backends import ENVIRONMENT, choose_backend, no_autocast
from .cuda_backend import cuda_kernels, cuda_works


def _operator(name: str, forward: Callable, backward: Callable, chunk_of: Callable[[torch.Tensor], int]) -> Callable:
    """A differentiable operator of two functions, which compilers and exporters take as one node."""
    scan = torch.library.custom_op(f"flemme_monai::selective_scan_{name}", forward, mutates_args=())
    gradient = torch.library.custom_op(f"flemme_monai::selective_scan_{name}_backward", backward, mutates_args=())

    @scan.register_fake
    def _(u, delta, A, B, C, D, bias, softplus):
        images, groups, length, channels = u.shape
        chunk = chunk_of(A)
        chunks = (length + chunk - 1) // chunk
        return u.new_empty(u.shape), u.new_empty((images, groups, chunks + 1, A.shape[2], channels))

    @gradient.register_fake
    def _(dy, u, delta, A, B, C, D, bias, softplus, borders):
        return tuple(x.new_empty(x.shape) for x in (u, delta, A, B, C, D, bias))

    def save(ctx, inputs, output) -> None:
        *tensors, ctx.softplus = inputs
        ctx.save_for_backward(*tensors, output[1])

    def differentiate(ctx, dy, _):
        *tensors, borders = ctx.saved_tensors
        with no_autocast(dy):
            return *gradient(dy, *tensors, ctx.softplus, borders), None

    scan.register_autograd(differentiate, setup_context=save)
    return scan


_torch = _operator("torch", torch_backend.forward, torch_backend.backward, torch_backend.chunk_of)
_numba = _operator("numba", numba_backend.forward, numba_backend.backward, lambda A: numba_backend.CHUNK)


@lru_cache(maxsize=1)
def scripted_reference() -> Callable:
    """The recurrence as a script, which a trace keeps as a loop."""
    return torch.jit.script(reference.forward)


def prepare_scans() -> None:
    """Compile or load what scans on the CPU will need, so that the first of them does not wait for it."""
    if os.environ.get(ENVIRONMENT, "numba") == "numba":
        numba_backend.kernels()


MOST_STATES = 256  # that mamba_ssm's kernels hold


def _run(inputs: list[torch.Tensor], softplus: bool, wish: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (Z, G, L, W) and last state (Z, G, W, N) of a scan in the layout of :func:`.reference.forward`."""
    u, A = inputs[0], inputs[2]
    if torch.jit.is_tracing():
        return scripted_reference()(*inputs, softplus)
    if torch.compiler.is_exporting():
        return exported.forward(*inputs, softplus)
    if u.numel() == 0:
        return sum(x.sum() for x in inputs) + u, u.new_zeros(u.shape[0], *A.shape)
    single = u.dtype == torch.float32
    works = {
        "cuda": lambda: u.is_cuda and single and A.shape[-1] <= MOST_STATES and cuda_works(),
        "numba": lambda: u.device.type == "cpu" and single and numba_backend.numba_works(),
        "torch": lambda: True,
        "reference": lambda: True,
    }
    with no_autocast(u):
        name = choose_backend("selective scan", works, u, wish)
        if name == "reference":
            return reference.forward(*inputs, softplus)
        if name == "cuda":
            # (Z, G, L, W) -> (Z, G * W, L), and (Z, G, L, N) -> (Z, G, N, L)
            u, delta, B, C = (inputs[i].transpose(2, 3) for i in (0, 1, 3, 4))
            A, D, bias = (inputs[i].flatten(0, 1) for i in (2, 5, 6))
            y, last = cuda_kernels().selective_scan_fn(
                u.flatten(1, 2), delta.flatten(1, 2), A, B, C, D, None, bias, softplus, return_last_state=True
            )
            return y.view(u.shape).transpose(2, 3), last.unflatten(1, u.shape[1:3])
        inputs = [x.contiguous() for x in inputs]  # here and not in the operators, whose backward pass takes them too
        y, borders = (_numba if name == "numba" else _torch)(*inputs, softplus)
        return y, borders[:, :, -1].mT


def scan_rows(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    bias: torch.Tensor,
    softplus: bool,
) -> torch.Tensor:
    """The scan of float32 or float64 features, as :func:`.reference.forward` lays them out.

    It can be scripted, traced, compiled and exported.
    """
    if torch.jit.is_scripting():
        return reference.forward(u, delta, A, B, C, D, bias, softplus)[0]
    return _run([u, delta, A, B, C, D, bias], softplus, None)[0]


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

    Arguments and results are those of ``mamba_ssm``'s ``selective_scan_fn``, for real A and for B and C that vary in
    time. It computes in float64 for float64 input, else in float32; gradients are of first order and in reverse mode.

    Args:
        u: input (B, D, L): images, channels, steps.
        delta: step sizes (B, D, L).
        A: decay (D, N), for N states a channel.
        B: input's way into the state, (B, N, L), or (B, G, N, L) for G groups of channels.
        C: state's way into the output, as B.
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
        ValueError: for shapes that do not fit each other, or a backend that cannot do it.
    """
    if not torch.jit.is_tracing():
        _check_shapes(u, delta, A, B, C, D, z, delta_bias)
    dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    skip = u.new_zeros(u.shape[1]) if D is None else D
    bias = u.new_zeros(u.shape[1]) if delta_bias is None else delta_bias
    B, C = (x.unsqueeze(1) if x.ndim == 3 else x for x in (B, C))
    groups = B.shape[1]
    # (B, D, L) -> (B, G, L, D / G), (B, G, N, L) -> (B, G, L, N), (D, ...) -> (G, D / G, ...)
    inputs = [x.unflatten(1, (groups, -1)).transpose(2, 3) for x in (u, delta)] + [A.unflatten(0, (groups, -1))]
    inputs += [x.transpose(2, 3) for x in (B, C)] + [x.unflatten(0, (groups, -1)) for x in (skip, bias)]
    y, last = _run([x.to(dtype) for x in inputs], delta_softplus, backend)
    y = y.transpose(2, 3).reshape(u.shape)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    y = y.to(u.dtype)
    return (y, last.detach().flatten(1, 2)) if return_last_state else y


def _check_shapes(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> None:
    if u.ndim != 3 or A.ndim != 2 or any(x.is_complex() for x in (A, B, C)):
        raise ValueError(
            f"selective scan: u is {_shape(u)} and A {_shape(A)}; expected (B, D, L) and (D, N), A, B and C real"
        )
    images, channels, length = u.shape
    states = A.shape[1]
    groups = B.shape[1] if B.ndim == 4 else 1
    expected = {"delta": (delta, u.shape), "A": (A, (channels, states)), "D": (D, (channels,)), "z": (z, u.shape)}
    expected["delta_bias"] = (bias, (channels,))
    rows = (images, groups, states, length) if B.ndim == 4 else (images, states, length)
    expected["B"], expected["C"] = (B, rows), (C, rows)
    for name, (x, shape) in expected.items():
        if x is not None and tuple(x.shape) != tuple(shape):
            raise ValueError(
                f"selective scan: {name} is {_shape(x)}; expected {tuple(shape)} beside u {_shape(u)} and A {_shape(A)}"
            )
    if groups < 1 or channels % groups:
        raise ValueError(f"selective scan: {groups} groups do not divide {channels} channels")


def _shape(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
