"""``mamba_ssm.ops.triton.layer_norm``: norms that first add a residual."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .scans import upcast


def layer_norm_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    eps: float = 1e-6,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The norm over the last axis of ``x + residual``.

    Args:
        x: input (..., C).
        weight: (C).
        bias: (C), or None.
        residual: as x, or None.
        eps: added to the variance.
        prenorm: whether the sum is returned too.
        residual_in_fp32: whether the sum is then in float32, where there was no residual before.
        is_rms_norm: RMSNorm instead of LayerNorm.

    Returns:
        The norm in the input's dtype; with ``prenorm`` also the sum.
    """
    total = upcast(x) if residual is None else upcast(x) + upcast(residual)
    if is_rms_norm:
        y = F.rms_norm(total, weight.shape, weight.to(total.dtype), eps)
        y = y if bias is None else y + bias
    else:
        y = F.layer_norm(total, weight.shape, weight.to(total.dtype), bias, eps)
    y = y.to(x.dtype)
    if not prenorm:
        return y
    if residual is not None:
        return y, total.to(residual.dtype)
    return y, total if residual_in_fp32 else total.to(x.dtype)


def rms_norm_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None = None,
    eps: float = 1e-6,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """:func:`layer_norm_fn` by the root mean square."""
    return layer_norm_fn(x, weight, bias, residual, eps, prenorm, residual_in_fp32, True)


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich, NeurIPS 2019).

    Args:
        hidden_size: number of channels.
        eps: added to the mean square.
        device, dtype: of the weight.
    """

    bias: None

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)

    def forward(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None = None,
        prenorm: bool = False,
        residual_in_fp32: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """As :func:`rms_norm_fn`."""
        return rms_norm_fn(x, self.weight, None, residual, self.eps, prenorm, residual_in_fp32)
