"""``selective_scan_cuda_core``, ``_oflex`` and ``_nrow``: the scan's two passes, as VMamba's networks call them."""

from __future__ import annotations

import torch

from ...ops import SelectiveScanInputs
from ...ops.selective_scan import scan_gradients, scan_with_states
from .scans import upcast


def _inputs(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
) -> SelectiveScanInputs:
    """What a scan takes, of tensors (B, D, L), (D, N), (B, G, N, L) and (D)."""
    zero = A.new_zeros(A.shape[0])
    groups = (B.shape[1], -1)
    u, delta = (upcast(x).unflatten(1, groups).transpose(2, 3).contiguous() for x in (u, delta))
    B, C = (x.to(u.dtype).transpose(2, 3).contiguous() for x in (B, C))
    weights = (A, zero if D is None else D, zero if delta_bias is None else delta_bias)
    A, D, delta_bias = (x.to(u.dtype).unflatten(0, groups).contiguous() for x in weights)
    return SelectiveScanInputs(u, delta, A, B, C, D, delta_bias)


def fwd(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool,
    nrows: int,
    out_float: bool = False,
) -> list[torch.Tensor]:
    """The scan.

    Args:
        u, delta: input and step sizes (B, D, L).
        A: decay (D, N).
        B, C: input and output matrix (B, G, N, L).
        D, delta_bias: (D), or None.
        delta_softplus: whether the step sizes, with their bias, go through softplus.
        nrows: no effect.
        out_float: whether the output is in float32, not in the input's dtype.

    Returns:
        The output (B, D, L); and (B, D, chunks, 2N), of which each second is a state after a chunk.
    """
    y, chunk_states = scan_with_states(_inputs(u, delta, A, B, C, D, delta_bias), delta_softplus)
    after = chunk_states[:, :, 1:].permute(0, 1, 4, 2, 3).flatten(1, 2)  # (B, D, chunks, N)
    states = torch.stack([torch.zeros_like(after), after], -1).flatten(-2)
    return [y.transpose(2, 3).flatten(1, 2).to(y.dtype if out_float else u.dtype), states]


def bwd(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    dout: torch.Tensor,
    x: torch.Tensor,
    delta_softplus: bool,
    nrows: int,
) -> list[torch.Tensor | None]:
    """Gradients of the inputs.

    Args:
        u, delta, A, B, C, D, delta_bias, delta_softplus, nrows: as :func:`fwd`.
        dout: the output's gradient (B, D, L).
        x: the states that :func:`fwd` returned.

    Returns:
        Gradients of u, delta, A, B, C, D and delta_bias.
    """
    inputs = _inputs(u, delta, A, B, C, D, delta_bias)
    groups = (B.shape[1], -1)
    after = x[..., 1::2].unflatten(1, groups).permute(0, 1, 3, 4, 2)  # (B, G, chunks, N, D / G)
    chunk_states = torch.cat([torch.zeros_like(after[:, :, :1]), after], 2)
    dy = dout.to(inputs.u.dtype).unflatten(1, groups).transpose(2, 3).contiguous()
    found = scan_gradients(inputs, delta_softplus, chunk_states, dy)
    du, ddelta = (v.transpose(2, 3).flatten(1, 2).to(u.dtype) for v in (found.u, found.delta))
    dB, dC = (v.transpose(2, 3).to(B.dtype) for v in (found.B, found.C))
    dD, dbias = (None if like is None else v.flatten() for like, v in ((D, found.D), (delta_bias, found.bias)))
    return [du, ddelta, found.A.flatten(0, 1), dB, dC, dD, dbias]
