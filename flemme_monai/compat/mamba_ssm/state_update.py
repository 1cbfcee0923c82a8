"""``mamba_ssm.ops.triton.selective_state_update``: one step of the scans of Mamba and Mamba-2."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .scans import upcast


def selective_state_update(
    state: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    dt_softplus: bool = False,
) -> torch.Tensor:
    """h = exp(dt A) h + dt B x,  y = C h + D x; the state h is changed in place.

    Args:
        state: h (B, E, N); or (B, H, P, N), for H heads of P channels.
        x: input (B, E), or (B, H, P).
        dt: step sizes, as x.
        A: decay (E, N), or (H, P, N).
        B: input matrix (B, N), or (B, G, N) for G groups of heads.
        C: output matrix, as B.
        D: skip (E), or (H, P); or None.
        z: gate, as x: the output times SiLU(z); or None.
        dt_bias: added to dt, (E), or (H, P); or None.
        dt_softplus: whether dt, with its bias, goes through softplus.

    Returns:
        y, as x.
    """
    dt = upcast(dt) if dt_bias is None else upcast(dt) + dt_bias
    dt = F.softplus(dt) if dt_softplus else dt
    heads = state.ndim == 4
    if heads:
        B, C = (v.repeat_interleave(state.shape[1] // v.shape[1], 1) for v in (B, C))  # (B, H, N)
    B, C = (upcast(v).unsqueeze(-2) for v in (B, C))
    decay = torch.exp(dt.unsqueeze(-1) * A)
    state.copy_(decay * state + (dt * x).unsqueeze(-1) * B)
    y = (state * C).sum(-1)
    y = y if D is None else y + D * x
    return (y if z is None else y * F.silu(upcast(z))).to(x.dtype)
