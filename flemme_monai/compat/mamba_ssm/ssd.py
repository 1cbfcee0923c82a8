"""``mamba_ssm.ops.triton.ssd_combined``: the scan of Mamba-2, and the inside of a Mamba-2 block, as functions.

Glossary: B batch, L steps, H heads of P channels, G groups of heads, N states, W width of the convolution, M channels
that are gated and not scanned.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ...ops import ssd_scan
from .convolution import convolve_tokens
from .gated_norms import rmsnorm_fn
from .scans import refuse_packed


def mamba_chunk_scan_combined(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    chunk_size: int,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    return_varlen_states: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """:func:`flemme_monai.ops.ssd_scan`, in the chunks that suit it: results do not depend on ``chunk_size``.

    Raises:
        NotImplementedError: If ``seq_idx``, ``cu_seqlens`` or ``return_varlen_states`` mark packed sequences.
    """
    refuse_packed("mamba_chunk_scan_combined", seq_idx, cu_seqlens, return_varlen_states)
    return ssd_scan(
        x,
        dt,
        A,
        B,
        C,
        D=D,
        z=z,
        dt_bias=dt_bias,
        initial_states=initial_states,
        dt_softplus=dt_softplus,
        dt_limit=dt_limit,
        return_final_states=return_final_states,
    )


def mamba_split_conv1d_scan_combined(
    zxbcdt: torch.Tensor,
    conv1d_weight: torch.Tensor,
    conv1d_bias: torch.Tensor | None,
    dt_bias: torch.Tensor,
    A: torch.Tensor,
    D: torch.Tensor,
    chunk_size: int,
    initial_states: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    activation: str | None = "silu",
    rmsnorm_weight: torch.Tensor | None = None,
    rmsnorm_eps: float = 1e-6,
    outproj_weight: torch.Tensor | None = None,
    outproj_bias: torch.Tensor | None = None,
    headdim: int | None = None,
    ngroups: int = 1,
    norm_before_gate: bool = True,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """A Mamba-2 block after its first projection: convolution, scan, gated norm and, with weights, last projection.

    Args:
        zxbcdt: (B, L, 2M + 2HP + 2GN + H): M gates and M values, gate, input, B, C and step sizes.
        conv1d_weight: (HP + 2GN, W).
        conv1d_bias: (HP + 2GN), or None.
        dt_bias: (H).
        A: decay (H).
        D: skip (H), or (H, P).
        chunk_size: no effect.
        initial_states: the state to begin with (B, H, P, N); None: zeros.
        seq_idx: None.
        dt_limit: range of the step sizes.
        return_final_states: whether the last state is returned too.
        activation: of the convolution: ``silu``, ``swish`` or None.
        rmsnorm_weight: (HP); None: the gate alone.
        rmsnorm_eps: of the norm.
        outproj_weight: (C, M + HP); None: no projection.
        outproj_bias: (C), or None.
        headdim: P, where D is (H).
        ngroups: G.
        norm_before_gate: whether the gate follows the norm.

    Returns:
        (B, L, C), or (B, L, M + HP) without projection; with ``return_final_states`` also the state (B, H, P, N).

    Raises:
        ValueError: If P is unknown.
        NotImplementedError: If ``seq_idx`` marks packed sequences.
    """
    refuse_packed("mamba_split_conv1d_scan_combined", seq_idx)
    heads = D.shape[0]
    width = headdim if D.ndim == 1 else D.shape[1]
    if width is None:
        raise ValueError("headdim is None; expected the channels of a head: D has none of its own")
    inner = heads * width
    states = (conv1d_weight.shape[0] - inner) // ngroups // 2
    gated = (zxbcdt.shape[-1] - 2 * inner - 2 * ngroups * states - heads) // 2
    sizes = [gated, gated, inner, inner + 2 * ngroups * states, heads]
    z0, x0, z, xBC, dt = zxbcdt.split(sizes, -1)
    xBC = convolve_tokens(xBC, conv1d_weight, conv1d_bias)
    xBC = xBC if activation is None else F.silu(xBC)
    x, B, C = xBC.split([inner, ngroups * states, ngroups * states], -1)
    y, last = ssd_scan(
        x.unflatten(-1, (heads, width)),
        dt,
        A,
        B.unflatten(-1, (ngroups, states)),
        C.unflatten(-1, (ngroups, states)),
        D=D,
        dt_bias=dt_bias,
        initial_states=initial_states,
        dt_softplus=True,
        dt_limit=dt_limit,
        return_final_states=True,
    )
    y = y.flatten(2)
    if rmsnorm_weight is None:
        y = y * F.silu(z)
    else:
        y = rmsnorm_fn(y, rmsnorm_weight, None, z, rmsnorm_eps, inner // ngroups, norm_before_gate)
    if gated:
        y = torch.cat([F.silu(z0) * x0, y], -1)
    if outproj_weight is not None:
        y = F.linear(y, outproj_weight, outproj_bias)
    return (y, last) if return_final_states else y
