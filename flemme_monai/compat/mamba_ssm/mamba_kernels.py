"""``selective_scan_cuda``: the scan's two passes with a gate, as copies of ``mamba_ssm``'s interface call them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from . import vmamba_kernels


def fwd(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool,
) -> list[torch.Tensor]:
    """As VMamba's ``fwd``; with a gate z (B, D, L) also the output times SiLU(z)."""
    y, states = vmamba_kernels.fwd(u, delta, A, B, C, D, delta_bias, delta_softplus, 1)
    return [y, states] if z is None else [y, states, y * F.silu(z)]


def bwd(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    dout: torch.Tensor,
    x: torch.Tensor,
    out: torch.Tensor | None,
    dz: torch.Tensor | None,
    delta_softplus: bool,
    recompute_out_z: bool,
) -> list[torch.Tensor | None]:
    """As VMamba's ``bwd``.

    Args:
        out: the output before the gate, where there is one.
        dz: where to write the gate's gradient, or None.
        recompute_out_z: whether the gated output is returned again.

    Returns:
        Gradients of u, delta, A, B, C, D and delta_bias; with a gate also its gradient, then the gated output.

    Raises:
        ValueError: If there is a gate and no output.
    """
    dy, extra = dout, []
    if z is not None:
        if out is None:
            raise ValueError("out is None; expected what fwd returned: the gate's gradient needs it")
        gate = torch.sigmoid(z)
        slope = dout * out * gate * (1 + z * (1 - gate))
        extra = [slope if dz is None else dz.copy_(slope)]
        if recompute_out_z:
            extra.append(out * z * gate)
        dy = dout * z * gate
    return [*vmamba_kernels.bwd(u, delta, A, B, C, D, delta_bias, dy, x, delta_softplus, 1), *extra]
