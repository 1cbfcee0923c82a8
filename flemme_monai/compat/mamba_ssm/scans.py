"""``mamba_ssm.ops.selective_scan_interface``: the selective scan, and the inside of a Mamba block, as functions.

Glossary: B batch, L steps, E inner channels, N states per channel, G groups of channels, R rank of the step sizes, W
width of the convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...ops import SelectiveScanInputs, grouped_selective_scan, selective_scan
from .convolution import convolve_tokens


def upcast(x: torch.Tensor) -> torch.Tensor:
    """At least float32: what a scan computes in."""
    return x if x.dtype == torch.float64 else x.float()


def _variable(matrix: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """B or C as a scan takes it: one that does not vary in time, (E, N), becomes (B, E, N, L)."""
    if matrix.ndim > 2:
        return matrix
    return matrix[None, :, :, None].expand(u.shape[0], -1, -1, u.shape[2])


def selective_scan_fn(
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
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """:func:`flemme_monai.ops.selective_scan`; B and C may also be (E, N), constant in time."""
    return _scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state, None)


def selective_scan_ref(
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
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """As :func:`selective_scan_fn`, step by step: to compare with."""
    return _scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state, "reference")


def _scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool,
    return_last_state: bool,
    backend: str | None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    B, C = _variable(B, u), _variable(C, u)
    groups = max(x.shape[1] if x.ndim == 4 else 1 for x in (B, C))
    if groups > 1:  # as many groups for the one as for the other
        B, C = (x if x.ndim == 4 else x.unsqueeze(1) for x in (B, C))
        B, C = (x.repeat_interleave(groups // x.shape[1], 1) for x in (B, C))
    return selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state, backend)


def scan_tokens(
    x: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool = True,
) -> torch.Tensor:
    """A scan in the layout of linear layers.

    Args:
        x, delta: input and step sizes (B, L, E).
        A: decay (E, N).
        B, C: input and output matrix (B, L, N).
        D, delta_bias: (E), or None.
        delta_softplus: whether the step sizes, with their bias, go through softplus.

    Returns:
        (B, L, E), at least in float32.
    """
    zero = A.new_zeros(A.shape[0])
    D, delta_bias = (zero if v is None else v for v in (D, delta_bias))
    rows = (upcast(v).unsqueeze(1) for v in (x, delta, B, C))  # one group: (B, 1, L, E) or (B, 1, L, N)
    u, delta, B, C = rows
    A, D, delta_bias = (v.to(u.dtype).unsqueeze(0) for v in (A, D, delta_bias))
    return grouped_selective_scan(SelectiveScanInputs(u, delta, A, B, C, D, delta_bias), delta_softplus).squeeze(1)


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
    x, z = _convolved(xz, conv1d_weight, conv1d_bias)
    delta, own_B, own_C = project_tokens(x, x_proj_weight, delta_proj_weight)
    own_B, own_C = _with_biases(own_B, own_C, B_proj_bias, C_proj_bias)
    if B is None and C is None:
        y = scan_tokens(x, delta, A, own_B, own_C, D, delta_bias, delta_softplus)
        return (y.to(x.dtype) * F.silu(z)).mT
    B, C = own_B.mT if B is None else B, own_C.mT if C is None else C
    scanned = selective_scan_fn(x.mT, delta.mT, A, B, C, D, z.mT, delta_bias, delta_softplus)
    assert isinstance(scanned, torch.Tensor), "no last state was asked for"
    return scanned


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
) -> torch.Tensor:
    """:func:`mamba_inner_fn_no_out_proj`, then the projection to (B, L, C)."""
    y = mamba_inner_fn_no_out_proj(
        xz,
        conv1d_weight,
        conv1d_bias,
        x_proj_weight,
        delta_proj_weight,
        A,
        B,
        C,
        D,
        delta_bias,
        B_proj_bias,
        C_proj_bias,
        delta_softplus,
    )
    return F.linear(y.mT, out_proj_weight, out_proj_bias)


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


def scan_both_ways(
    x: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    A_b: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
    delta_softplus: bool = True,
) -> torch.Tensor:
    """The sum of :func:`scan_tokens` and of the same backwards with decays ``A_b``."""
    y = scan_tokens(x, delta, A, B, C, D, delta_bias, delta_softplus)
    flipped = (v.flip(1) for v in (x, delta, B, C))
    x, delta, B, C = flipped
    return y + scan_tokens(x, delta, A_b, B, C, D, delta_bias, delta_softplus).flip(1)
