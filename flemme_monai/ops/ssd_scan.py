"""The scan of Mamba-2 (state space duality, SSD), one function over several backends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from . import exported, reference, ssd_torch
from .backends import check_shapes, choose_backend, no_autocast, scan_operator, ssd_kernel, ssd_kernel_available
from .reference import SelectiveScanInputs, SSDInputs


def _fake(inputs: SSDInputs, softplus: bool, chunk: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, first = inputs.x, inputs.initial_state
    chunks = (x.shape[2] + chunk - 1) // chunk
    chunk_states = x.new_empty((*first.shape[:2], chunks, *first.shape[2:]))
    return x.new_empty(x.shape), first.new_empty(first.shape), chunk_states


_scan = scan_operator("ssd_scan", SSDInputs, ["bool", "int"], 2, ssd_torch.forward, ssd_torch.backward, _fake)


def _channels(inputs: SSDInputs) -> tuple[SelectiveScanInputs, torch.Tensor]:
    """The same scan, and its first state, with every channel of a head for itself."""
    x, dt, A, B, C, D, bias, first = inputs
    width, states = x.shape[4], B.shape[3]
    dt, D, bias = (v.repeat_interleave(width, -1) for v in (dt, D, bias))
    A = A.repeat_interleave(width, -1).unsqueeze(-1).expand(-1, -1, states)
    return SelectiveScanInputs(x.flatten(3), dt, A, B, C, D, bias), first.flatten(3).mT.contiguous()


def _run(inputs: SSDInputs, softplus: bool, chunk: int, backend: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (Z, G, L, R, P) and last state (Z, G, N, R, P) of a scan."""
    x = inputs.x
    if torch.jit.is_tracing():
        return _by_channel(exported.traced_forward, inputs, softplus)
    if torch.compiler.is_exporting():
        return _by_channel(exported.forward, inputs, softplus)
    if x.numel() == 0:
        return sum(v.sum() for v in inputs[:7]) + x, inputs.initial_state
    available = {
        "cuda": lambda: x.is_cuda and x.dtype == torch.float32 and ssd_kernel_available(),
        "torch": lambda: True,
        "reference": lambda: True,
    }
    name = choose_backend("ssd scan", available, x, backend)
    if name == "torch":
        with no_autocast(x):
            y, last, _ = _scan(*inputs, softplus, chunk)
        return y, last
    if name == "cuda":
        return _cuda(inputs, softplus, chunk)
    return _by_channel(reference.forward, inputs, softplus)


def _cuda(inputs: SSDInputs, softplus: bool, chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
    # (Z, G, L, R, ...) -> (Z, L, G * R, ...), and (Z, G, L, N) -> (Z, L, G, N)
    x, dt = (v.transpose(1, 2).flatten(2, 3) for v in (inputs.x, inputs.dt))
    B, C = (v.transpose(1, 2) for v in (inputs.B, inputs.C))
    kernel = ssd_kernel()
    assert kernel is not None, "mamba_ssm has no kernel of Mamba-2"
    y, last = kernel(
        x,
        dt,
        inputs.A.flatten(),
        B,
        C,
        chunk,
        D=inputs.D.flatten(),
        dt_bias=inputs.bias.flatten(),
        initial_states=inputs.initial_state.movedim(2, -1).flatten(1, 2),
        dt_softplus=softplus,
        dt_limit=(-math.inf, math.inf),
        return_final_states=True,
    )
    heads = inputs.A.shape  # (G, R)
    return y.unflatten(2, heads).transpose(1, 2), last.unflatten(1, heads).movedim(-1, 2)


def _by_channel(scan: Callable, inputs: SSDInputs, softplus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The scan of Mamba-2 by a scan of Mamba."""
    channels, first = _channels(inputs)
    y, last = scan(channels, softplus, first)
    shape = inputs.x.shape
    return y.view(shape), last.mT.unflatten(3, shape[3:])


def grouped_ssd_scan(inputs: SSDInputs, softplus: bool) -> torch.Tensor:
    """Output (Z, G, L, R, P) of the scan of float32 or float64 features.

    It can be scripted, traced, compiled and exported.
    """
    if torch.jit.is_scripting():
        channels, first = _channels(inputs)
        return reference.forward(channels, softplus, first)[0].view(inputs.x.shape)
    return _run(inputs, softplus, 64, None)[0]


def ssd_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    chunk_size: int = 64,
    *,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,  y_t = C_t h_t + D x_t, with one decay per head (Dao and Gu 2024).

    A is discretised by a zero-order hold, B by Euler's method.

    Arguments and results are those of ``mamba_ssm``'s ``mamba_chunk_scan_combined``, by name, without its packed
    sequences. It computes in float64 for float64 input, else in float32; gradients are of first order and in reverse
    mode.

    Args:
        x: input (B, L, H, P): images, steps, heads, channels of a head.
        dt: step sizes (B, L, H).
        A: decay (H).
        B: input matrix, from the input to the state: (B, L, G, N), for G groups of heads and N states.
        C: output matrix, from the state to the output: (B, L, G, N).
        chunk_size: steps that are computed at once; the result does not depend on it.
        D: skip (H) or (H, P), or None.
        z: gate (B, L, H, P): the output times SiLU(z); or None.
        dt_bias: (H), added to dt, or None.
        initial_states: the state to begin with, (B, H, P, N); None begins with zeros.
        dt_softplus: whether dt, with its bias, goes through softplus.
        dt_limit: dt is clamped to this range, after bias and softplus.
        return_final_states: whether the last state is returned too.
        backend: ``reference``, ``torch`` or ``cuda``; None asks the environment variable ``FLEMME_MONAI_SCAN``, then
            takes the fastest that is there.

    Returns:
        y (B, L, H, P) in the input's dtype; with ``return_final_states`` also the last state (B, H, P, N).

    Raises:
        ValueError: If shapes do not fit each other, or the backend cannot run here.
    """
    if not torch.jit.is_tracing():
        others = {"dt": dt, "A": A, "C": C, "D": D, "z": z, "dt_bias": dt_bias, "initial_states": initial_states}
        _check(x, B, others)
    if chunk_size < 1:
        raise ValueError(f"ssd scan: chunk_size is {chunk_size}; expected at least 1")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    images, _, heads, width = x.shape
    bias = x.new_zeros(heads) if dt_bias is None else dt_bias
    if not dt_softplus or tuple(dt_limit) != (0.0, math.inf):
        dt = dt.to(dtype) + bias.to(dtype)
        dt = (F.softplus(dt) if dt_softplus else dt).clamp(*dt_limit)
        bias, dt_softplus = torch.zeros_like(bias), False
    skip = D if D is not None and D.ndim == 1 else x.new_zeros(heads)
    first = x.new_zeros(images, heads, width, B.shape[3]) if initial_states is None else initial_states
    groups = (B.shape[2], -1)
    # (B, L, H, ...) -> (B, G, L, H / G, ...), (B, L, G, N) -> (B, G, L, N), (H) -> (G, H / G)
    x_rows, dt_rows = (v.unflatten(2, groups).transpose(1, 2).to(dtype) for v in (x, dt))
    A, skip, bias = (v.unflatten(0, groups).to(dtype) for v in (A, skip, bias))
    B, C = (v.transpose(1, 2).to(dtype) for v in (B, C))
    first = first.unflatten(1, groups).movedim(-1, 2).to(dtype)  # (B, H, P, N) -> (B, G, N, H / G, P)
    y, last = _run(SSDInputs(x_rows, dt_rows, A, B, C, skip, bias, first), dt_softplus, chunk_size, backend)
    y = y.transpose(1, 2).reshape(x.shape)
    if D is not None and D.ndim == 2:
        y = y + x.to(dtype) * D.to(dtype)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    y = y.to(x.dtype)
    return (y, last.movedim(2, -1).flatten(1, 2)) if return_final_states else y


def _check(x: torch.Tensor, B: torch.Tensor, others: Mapping[str, torch.Tensor | None]) -> None:
    if x.ndim != 4 or B.ndim != 4:
        raise ValueError(f"ssd scan: x is {tuple(x.shape)} and B {tuple(B.shape)}; expected (B, L, H, P), (B, L, G, N)")
    images, length, heads, width = x.shape
    groups, states = B.shape[2:]
    tensors = {**others, "B": B}
    shapes = {"dt": (images, length, heads), "A": (heads,), "z": x.shape, "dt_bias": (heads,)}
    shapes |= dict.fromkeys("BC", (images, length, groups, states))
    shapes["D"] = (heads,) if tensors["D"] is None or tensors["D"].ndim == 1 else (heads, width)
    shapes["initial_states"] = (images, heads, width, states)
    check_shapes("ssd scan", {name: (tensors[name], shapes[name]) for name in shapes}, {"x": x, "B": B})
    if groups < 1 or heads % groups:
        raise ValueError(f"ssd scan: {groups} groups do not divide {heads} heads")
