"""The selective scan as one loop of the exported program, of any length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch._higher_order_ops import scan


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
    """As :func:`.reference.forward`; ``torch.export`` and ONNX keep the loop."""
    dt = delta + bias.unsqueeze(1)
    if softplus:
        dt = F.softplus(dt)

    def step(h: torch.Tensor, row: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        dt_t, x_t, B_t, C_t = row  # (Z, G, W), (Z, G, W), (Z, G, N), (Z, G, N)
        h = torch.exp(dt_t.unsqueeze(-1) * A) * h + x_t.unsqueeze(-1) * B_t.unsqueeze(2)
        return h, (h * C_t.unsqueeze(2)).sum(-1)

    rows = tuple(x.permute(2, 0, 1, 3) for x in (dt, dt * u, B, C))
    last, y = scan(step, u.new_zeros(*u.shape[:2], *A.shape[1:]) if first is None else first, rows)
    return y.permute(1, 2, 0, 3) + D.unsqueeze(1) * u, last
