"""The selective scan as its recurrence: to read, to test against, and to script."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def forward(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    bias: torch.Tensor,
    softplus: bool,
    first: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,  y_t = C_t h_t + D u_t (Gu and Dao 2023, eq. 2 and 4).

    Args:
        u: input (Z, G, L, W) of Z images, G groups of W channels, L steps.
        delta: step sizes (Z, G, L, W).
        A: (G, W, N), for N states a channel.
        B: (Z, G, L, N).
        C: (Z, G, L, N).
        D: (G, W).
        bias: (G, W), added to delta.
        softplus: whether delta, with its bias, goes through softplus.
        first: the state to begin with, (Z, G, W, N); None begins with zeros.

    Returns:
        y (Z, G, L, W), and the last state h (Z, G, W, N).
    """
    delta = delta + bias.unsqueeze(1)
    if softplus:
        delta = F.softplus(delta)
    h = torch.zeros_like(u[:, :, 0]).unsqueeze(-1) * A if first is None else first
    out: list[torch.Tensor] = []
    rows = zip(u.unbind(2), delta.unbind(2), B.unbind(2), C.unbind(2))
    for u_t, delta_t, B_t, C_t in rows:  # (Z, G, W), (Z, G, W), (Z, G, N), (Z, G, N)
        step = delta_t.unsqueeze(-1)
        h = torch.exp(step * A) * h + step * u_t.unsqueeze(-1) * B_t.unsqueeze(2)
        out.append((h * C_t.unsqueeze(2)).sum(-1) + D * u_t)
    return torch.stack(out, 2), h
