"""``mamba_ssm.ops.triton.layernorm_gated``: norms with a gate, over groups of channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .scans import upcast


def layernorm_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    z: torch.Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
    is_rms_norm: bool = False,
) -> torch.Tensor:
    """The norm over groups of channels, times SiLU(z); or the norm of that product.

    Args:
        x: input (..., C).
        weight: (C).
        bias: (C), or None.
        z: gate, as x, or None.
        eps: added to the variance.
        group_size: channels of a group; None: all.
        norm_before_gate: whether the gate follows the norm; False: it goes before.
        is_rms_norm: RMSNorm instead of LayerNorm.

    Returns:
        As x.
    """
    rows = upcast(x)
    gate = None if z is None else F.silu(upcast(z))
    if gate is not None and not norm_before_gate:
        rows = rows * gate
    groups = rows.unflatten(-1, (-1, group_size or x.shape[-1]))
    norm = F.rms_norm if is_rms_norm else F.layer_norm
    y = norm(groups, groups.shape[-1:], eps=eps).flatten(-2) * weight
    y = y if bias is None else y + bias
    if gate is not None and norm_before_gate:
        y = y * gate
    return y.to(x.dtype)


def rmsnorm_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    z: torch.Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
) -> torch.Tensor:
    """:func:`layernorm_fn` by the root mean square."""
    return layernorm_fn(x, weight, bias, z, eps, group_size, norm_before_gate, True)


class RMSNorm(nn.Module):
    """Root mean square norm with a gate, of Mamba-2.

    Args:
        hidden_size: number of channels.
        eps: added to the mean square.
        group_size: channels of a group; None: all.
        norm_before_gate: whether the gate follows the norm.
        device, dtype: of the parameters.
    """

    is_rms_norm = True
    bias: nn.Parameter | None

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        group_size: int | None = None,
        norm_before_gate: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps, self.group_size, self.norm_before_gate = eps, group_size, norm_before_gate
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        bias = None if self.is_rms_norm else nn.Parameter(torch.zeros(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", bias)

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        """As :func:`layernorm_fn`."""
        settings = (self.eps, self.group_size, self.norm_before_gate, self.is_rms_norm)
        return layernorm_fn(x, self.weight, self.bias, z, *settings)


class LayerNorm(RMSNorm):
    """LayerNorm with a gate."""

    is_rms_norm = False
