"""``mamba_ssm.ops.selective_scan_interface``: the selective scan.

Glossary: B batch, L steps, E inner channels, N states per channel, G groups of channels.
"""

from __future__ import annotations

import torch

from ...ops import SelectiveScanInputs, grouped_selective_scan, selective_scan


def refuse_packed(name: str, *packing: object) -> None:
    """Refuse what marks sequences that are packed into one row.

    Raises:
        NotImplementedError: If any of it is not None or False.
    """
    if any(mark is not None and mark is not False for mark in packing):
        raise NotImplementedError(f"{name}: packed sequences are given; expected none: give each its own row")


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
    cu_seqlens: torch.Tensor | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """:func:`flemme_monai.ops.selective_scan`; B and C may also be (E, N), constant in time.

    Raises:
        NotImplementedError: If ``cu_seqlens`` marks packed sequences.
    """
    refuse_packed("selective_scan_fn", cu_seqlens)
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
