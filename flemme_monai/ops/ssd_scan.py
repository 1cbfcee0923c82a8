"""The scan of Mamba-2 (state space duality, SSD), one function over several backends."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from . import exported, reference, ssd_torch
from .backends import choose_backend, no_autocast
from .cuda_backend import cuda_works_for_ssd, ssd_kernel
from .selective_scan import scripted_reference

_scan = torch.library.custom_op("flemme_monai::ssd_scan", ssd_torch.forward, mutates_args=())
_gradient = torch.library.custom_op("flemme_monai::ssd_scan_backward", ssd_torch.backward, mutates_args=())


@_scan.register_fake
def _(x, dt, A, B, C, D, bias, first, softplus, chunk):
    chunks = (x.shape[2] + chunk - 1) // chunk
    borders = x.new_empty((*first.shape[:2], chunks, *first.shape[2:]))
    return x.new_empty(x.shape), first.new_empty(first.shape), borders


@_gradient.register_fake
def _(dy, dlast, x, dt, A, B, C, D, bias, borders, softplus, chunk):
    return tuple(v.new_empty(v.shape) for v in (x, dt, A, B, C, D, bias, dlast))


def _save(ctx, inputs, output) -> None:
    *tensors, _, ctx.softplus, ctx.chunk = inputs
    ctx.save_for_backward(*tensors, output[2])


def _differentiate(ctx, dy, dlast, _):
    with no_autocast(dy):
        return *_gradient(dy, dlast, *ctx.saved_tensors, ctx.softplus, ctx.chunk), None, None


_scan.register_autograd(_differentiate, setup_context=_save)


def _channels(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    bias: torch.Tensor,
) -> list[torch.Tensor]:
    """The same scan with every channel of a head for itself, as :func:`.reference.forward` takes it."""
    width, states = x.shape[4], B.shape[3]
    step, decay, skip, offset = (v.repeat_interleave(width, -1) for v in (dt, A, D, bias))
    return [x.flatten(3), step, decay.unsqueeze(-1).expand(-1, -1, states), B, C, skip, offset]


def _run(
    inputs: list[torch.Tensor], first: torch.Tensor, softplus: bool, chunk: int, wish: str | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (Z, G, L, R, P) and last state (Z, G, N, R, P) of a scan in the layout of :func:`.ssd_torch.forward`."""
    x, dt, A, B, C, D, bias = inputs
    if torch.jit.is_tracing():
        return _by_channel(scripted_reference(), inputs, first, softplus)
    if torch.compiler.is_exporting():
        return _by_channel(exported.forward, inputs, first, softplus)
    if x.numel() == 0:
        return sum(v.sum() for v in inputs) + x, first
    works = {
        "cuda": lambda: x.is_cuda and x.dtype == torch.float32 and cuda_works_for_ssd(),
        "torch": lambda: True,
        "reference": lambda: True,
    }
    name = choose_backend("ssd scan", works, x, wish)
    if name == "torch":
        with no_autocast(x):
            y, last, _ = _scan(*inputs, first, softplus, chunk)
        return y, last
    if name == "cuda":
        # (Z, G, L, R, ...) -> (Z, L, G * R, ...), and (Z, G, L, N) -> (Z, L, G, N)
        heads = [v.transpose(1, 2).flatten(2, 3) for v in (x, dt)] + [A.flatten()]
        heads += [v.transpose(1, 2) for v in (B, C)]
        y, last = ssd_kernel()(
            *heads,
            chunk,
            D=D.flatten(),
            dt_bias=bias.flatten(),
            initial_states=first.movedim(2, -1).flatten(1, 2),
            dt_softplus=softplus,
            dt_limit=(-math.inf, math.inf),
            return_final_states=True,
        )
        return y.unflatten(2, A.shape).transpose(1, 2), last.unflatten(1, A.shape).movedim(-1, 2)
    return _by_channel(reference.forward, inputs, first, softplus)


def _by_channel(
    scan: Callable, inputs: list[torch.Tensor], first: torch.Tensor, softplus: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The scan of Mamba-2 by a scan of Mamba."""
    y, last = scan(*_channels(*inputs), softplus, first.flatten(3).mT.contiguous())
    shape = inputs[0].shape
    return y.view(shape), last.mT.unflatten(3, shape[3:])


def ssd_rows(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    bias: torch.Tensor,
    softplus: bool,
) -> torch.Tensor:
    """The scan of float32 or float64 features, as :func:`.ssd_torch.forward` lays them out, beginning with zeros.

    It can be scripted, traced, compiled and exported.
    """
    if torch.jit.is_scripting():
        u, delta, decay, B, C, skip, offset = _channels(x, dt, A, B, C, D, bias)
        return reference.forward(u, delta, decay, B, C, skip, offset, softplus)[0].view(x.shape)
    first = x.new_zeros(x.shape[0], x.shape[1], B.shape[3], x.shape[3], x.shape[4])
    return _run([x, dt, A, B, C, D, bias], first, softplus, 64, None)[0]


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
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,  y_t = C_t h_t + D x_t, with one decay a head (Dao and Gu 2024).

    Arguments and results are those of ``mamba_ssm``'s ``mamba_chunk_scan_combined``, by name, without its packed
    sequences. It computes in float64 for float64 input, else in float32; gradients are of first order and in reverse
    mode.

    Args:
        x: input (B, L, H, P): images, steps, heads, channels of a head.
        dt: step sizes (B, L, H).
        A: decay (H).
        B: input's way into the state, (B, L, G, N), for G groups of heads and N states.
        C: state's way into the output, (B, L, G, N).
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
        ValueError: for shapes that do not fit each other, or a backend that cannot do it.
    """
    if not torch.jit.is_tracing():
        _check_shapes(x, dt, A, B, C, D, z, dt_bias, initial_states)
    if chunk_size < 1:
        raise ValueError(f"ssd scan: chunk_size is {chunk_size}; expected at least 1")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    images, _, heads, width = x.shape
    bias = x.new_zeros(heads) if dt_bias is None else dt_bias
    if not dt_softplus or tuple(dt_limit) != (0.0, math.inf):
        dt = dt.to(dtype) + bias.to(dtype)
        dt = (F.softplus(dt) if dt_softplus else dt).clamp(*dt_limit)
        bias, dt_softplus = torch.zeros_like(bias), False
    per_head = D if D is not None and D.ndim == 1 else x.new_zeros(heads)
    first = x.new_zeros(images, heads, width, B.shape[3]) if initial_states is None else initial_states
    groups = (B.shape[2], -1)
    # (B, L, H, ...) -> (B, G, L, H / G, ...), (B, L, G, N) -> (B, G, L, N), (H) -> (G, H / G)
    inputs = [v.unflatten(2, groups).transpose(1, 2) for v in (x, dt)] + [A.unflatten(0, groups)]
    inputs += [v.transpose(1, 2) for v in (B, C)] + [v.unflatten(0, groups) for v in (per_head, bias)]
    first = first.unflatten(1, groups).movedim(-1, 2).to(dtype)  # (B, H, P, N) -> (B, G, N, H / G, P)
    y, last = _run([v.to(dtype) for v in inputs], first, dt_softplus, chunk_size, backend)
    y = y.transpose(1, 2).reshape(x.shape)
    if D is not None and D.ndim == 2:
        y = y + x.to(dtype) * D.to(dtype)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    y = y.to(x.dtype)
    return (y, last.movedim(2, -1).flatten(1, 2)) if return_final_states else y


def _check_shapes(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    bias: torch.Tensor | None,
    first: torch.Tensor | None,
) -> None:
    if x.ndim != 4 or B.ndim != 4:
        raise ValueError(f"ssd scan: x is {tuple(x.shape)} and B {tuple(B.shape)}; expected (B, L, H, P), (B, L, G, N)")
    images, length, heads, width = x.shape
    groups, states = B.shape[2:]
    skip = (heads,) if D is None or D.ndim == 1 else (heads, width)
    expected = {
        "dt": (dt, (images, length, heads)),
        "A": (A, (heads,)),
        "B": (B, (images, length, groups, states)),
        "C": (C, (images, length, groups, states)),
        "D": (D, skip),
        "z": (z, x.shape),
        "dt_bias": (bias, (heads,)),
        "initial_states": (first, (images, heads, width, states)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != tuple(shape):
            raise ValueError(
                f"ssd scan: {name} is {tuple(tensor.shape)}; expected {tuple(shape)} beside x {tuple(x.shape)} and "
                f"B {tuple(B.shape)}"
            )
    if groups < 1 or heads % groups:
        raise ValueError(f"ssd scan: {groups} groups do not divide {heads} heads")
