"""``mamba_ssm.ops.selective_scan_interface``: the inside of a Mamba block as functions.

Glossary: B batch, L steps, C channels, E inner channels, N states per channel, R rank of the step sizes, W width of the
convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .convolution import convolve_tokens
from .scans import refuse_packed, scan_both_ways, scan_tokens, selective_scan_fn


def project_tokens(
    x: torch.Tensor, x_proj_weight: torch.Tensor, dt_proj_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Step sizes (B, L, E), B and C (B, L, N) of tokens ``x`` (B, L, E)."""
    rank = dt_proj_weight.shape[1]
    states = (x_proj_weight.shape[0] - rank) // 2
    dt, B, C = F.linear(x, x_proj_weight).split([rank, states, states], -1)
    return F.linear(dt, dt_proj_weight), B, C


def _convolved(
    xz: torch.Tensor, conv1d_weight: torch.Tensor, conv1d_bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolved tokens and their gate (B, L, E), of both (B, 2E, L)."""
    x, z = xz.mT.chunk(2, -1)
    return F.silu(convolve_tokens(x, conv1d_weight.flatten(1), conv1d_bias)), z


def _with_biases(
    B: torch.Tensor, C: torch.Tensor, B_proj_bias: torch.Tensor | None, C_proj_bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    return B if B_proj_bias is None else B + B_proj_bias, C if C_proj_bias is None else C + C_proj_bias


def _inner(
    xz: torch.Tensor,
    conv1d_weight: torch.Tensor,
    conv1d_bias: torch.Tensor | None,
    x_proj_weight: torch.Tensor,
    delta_proj_weight: torch.Tensor,
    B_proj_bias: torch.Tensor | None,
    C_proj_bias: torch.Tensor | None,
    A: torch.Tensor,
    B: torch.Tensor | None,
    C: torch.Tensor | None,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool,
    norms: tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None],
    eps: float,
) -> torch.Tensor:
    """The gated scan (B, L, E); ``norms`` are weights for step sizes, B and C."""
    x, z = _convolved(xz, conv1d_weight, conv1d_bias)
    delta, own_B, own_C = project_tokens(x, x_proj_weight, delta_proj_weight)
    own_B, own_C = _with_biases(own_B, own_C, B_proj_bias, C_proj_bias)
    delta, own_B, own_C = (
        v if weight is None else F.rms_norm(v, v.shape[-1:], weight, eps)
        for v, weight in zip((delta, own_B, own_C), norms)
    )
    if B is None and C is None:
        y = scan_tokens(x, delta, A, own_B, own_C, D, delta_bias, delta_softplus)
        return y.to(x.dtype) * F.silu(z)
    B, C = own_B.mT if B is None else B, own_C.mT if C is None else C
    scanned = selective_scan_fn(x.mT, delta.mT, A, B, C, D, z.mT, delta_bias, delta_softplus)
    assert isinstance(scanned, torch.Tensor), "no last state was asked for"
    return scanned.mT


def mamba_inner_fn_no_out_proj(
    xz: torch.Tensor,
    conv1d_weight: torch.Tensor,
    conv1d_bias: torch.Tensor | None,
    x_proj_weight: torch.Tensor,
    delta_proj_weight: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor | None = None,
    C: torch.Tensor | None = None,
    D: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    B_proj_bias: torch.Tensor | None = None,
    C_proj_bias: torch.Tensor | None = None,
    delta_softplus: bool = True,
) -> torch.Tensor:
    """A Mamba block between its projections: convolution, scan and gate (Vim, Zhu et al. 2024).

    Args:
        xz: input and gate (B, 2E, L).
        conv1d_weight: (E, 1, W).
        conv1d_bias: (E), or None.
        x_proj_weight: (R + 2N, E).
        delta_proj_weight: (E, R).
        A: decay (E, N).
        B, C: None: from the input; or as :func:`selective_scan_fn` takes them.
        D, delta_bias: (E), or None.
        B_proj_bias, C_proj_bias: (N), or None.
        delta_softplus: whether the step sizes, with their bias, go through softplus.

    Returns:
        (B, E, L).
    """
    parts = (xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, B_proj_bias, C_proj_bias)
    return _inner(*parts, A, B, C, D, delta_bias, delta_softplus, (None, None, None), 0.0).mT


def mamba_inner_fn(
    xz: torch.Tensor,
    conv1d_weight: torch.Tensor,
    conv1d_bias: torch.Tensor | None,
    x_proj_weight: torch.Tensor,
    delta_proj_weight: torch.Tensor,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    A: torch.Tensor,
    B: torch.Tensor | None = None,
    C: torch.Tensor | None = None,
    D: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    B_proj_bias: torch.Tensor | None = None,
    C_proj_bias: torch.Tensor | None = None,
    delta_softplus: bool = True,
    b_rms_weight: torch.Tensor | None = None,
    c_rms_weight: torch.Tensor | None = None,
    dt_rms_weight: torch.Tensor | None = None,
    b_c_dt_rms_eps: float = 1e-6,
    cu_seqlens: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
) -> torch.Tensor:
    """:func:`mamba_inner_fn_no_out_proj`, then the projection to (B, L, C).

    Args:
        xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight: as there.
        out_proj_weight: (C, E).
        out_proj_bias: (C), or None.
        A, B, C, D, delta_bias, B_proj_bias, C_proj_bias, delta_softplus: as there.
        b_rms_weight, c_rms_weight: weights (N) of an RMSNorm of B and C; None: no norm.
        dt_rms_weight: weights (E) of an RMSNorm of the step sizes before bias and softplus; None: no norm.
        b_c_dt_rms_eps: of these norms.
        cu_seqlens, seq_idx: None.

    Returns:
        (B, L, C).

    Raises:
        NotImplementedError: If ``cu_seqlens`` or ``seq_idx`` mark packed sequences.
    """
    refuse_packed("mamba_inner_fn", cu_seqlens, seq_idx)
    norms = (dt_rms_weight, b_rms_weight, c_rms_weight)
    parts = (xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, B_proj_bias, C_proj_bias)
    y = _inner(*parts, A, B, C, D, delta_bias, delta_softplus, norms, b_c_dt_rms_eps)
    return F.linear(y, out_proj_weight, out_proj_bias)


mamba_inner_ref = mamba_inner_fn


def bimamba_inner_fn(
    xz: torch.Tensor,
    conv1d_weight: torch.Tensor,
    conv1d_bias: torch.Tensor | None,
    x_proj_weight: torch.Tensor,
    delta_proj_weight: torch.Tensor,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    A: torch.Tensor,
    A_b: torch.Tensor,
    B: torch.Tensor | None = None,
    C: torch.Tensor | None = None,
    D: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    B_proj_bias: torch.Tensor | None = None,
    C_proj_bias: torch.Tensor | None = None,
    delta_softplus: bool = True,
) -> torch.Tensor:
    """:func:`mamba_inner_fn` whose scan also goes backwards, with decays ``A_b`` (E, N) and all else alike.

    Raises:
        NotImplementedError: If B or C are given.
    """
    if B is not None or C is not None:
        raise NotImplementedError("bimamba_inner_fn: B or C is given; expected None: they follow from the input")
    x, z = _convolved(xz, conv1d_weight, conv1d_bias)
    delta, B, C = project_tokens(x, x_proj_weight, delta_proj_weight)
    B, C = _with_biases(B, C, B_proj_bias, C_proj_bias)
    y = scan_both_ways(x, delta, A, A_b, B, C, D, delta_bias, delta_softplus)
    return F.linear(y.to(x.dtype) * F.silu(z), out_proj_weight, out_proj_bias)
