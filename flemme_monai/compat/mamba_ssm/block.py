"""``mamba_ssm.modules.block``: a mixer with its norm, and the residual beside it.

A block takes and returns the mixer's output and the residual apart: they are added at the next block's beginning.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .inference import CachedMixer, StateCache
from .norms import RMSNorm, layer_norm_fn


class Block(nn.Module):
    """Add, norm, mix; with an MLP also add, norm, MLP.

    Args:
        dim: number of channels.
        mixer_cls: makes the mixer of a number of channels.
        mlp_cls: likewise the MLP; ``nn.Identity``: none.
        norm_cls: likewise a norm, LayerNorm or RMSNorm.
        fused_add_norm: whether sum and norm are computed at once, in float32.
        residual_in_fp32: whether the residual is kept in float32.
    """

    def __init__(
        self,
        dim: int,
        mixer_cls: Callable[[int], CachedMixer],
        mlp_cls: Callable[[int], nn.Module],
        norm_cls: Callable[[int], nn.LayerNorm | RMSNorm] = nn.LayerNorm,
        fused_add_norm: bool = False,
        residual_in_fp32: bool = False,
    ) -> None:
        super().__init__()
        self.residual_in_fp32, self.fused_add_norm = residual_in_fp32, fused_add_norm
        self.norm = norm_cls(dim)
        self.mixer = mixer_cls(dim)
        self.mlp: nn.Module | None = None
        if mlp_cls is not nn.Identity:
            self.norm2 = norm_cls(dim)
            self.mlp = mlp_cls(dim)

    def _add_norm(
        self, norm: nn.LayerNorm | RMSNorm, hidden_states: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.fused_add_norm:
            is_rms_norm = isinstance(norm, RMSNorm)
            options = (residual, norm.eps, True, self.residual_in_fp32, is_rms_norm)
            y, total = layer_norm_fn(hidden_states, norm.weight, norm.bias, *options)
            return y, total
        total = hidden_states if residual is None else hidden_states + residual
        return norm(total.to(norm.weight.dtype)), total.float() if self.residual_in_fp32 else total

    def forward(
        self,
        hidden_states: torch.Tensor,
        residual: torch.Tensor | None = None,
        inference_params: StateCache | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix ``hidden_states + residual`` (B, L, C).

        Returns:
            The last mixer's, or MLP's, output and the residual to add to it.
        """
        hidden_states, residual = self._add_norm(self.norm, hidden_states, residual)
        hidden_states = self.mixer(hidden_states, inference_params=inference_params)
        if self.mlp is not None:
            hidden_states, residual = self._add_norm(self.norm2, hidden_states, residual)
            hidden_states = self.mlp(hidden_states)
        return hidden_states, residual

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mixer's empty states."""
        return self.mixer.allocate_inference_cache(batch_size, max_seqlen, dtype=dtype)


class SimpleBlock(Block):
    """The block of ``mamba_ssm`` 1, in ``mamba_ssm.modules.mamba_simple``: without MLP; arguments as :class:`Block`."""

    def __init__(
        self,
        dim: int,
        mixer_cls: Callable[[int], CachedMixer],
        norm_cls: Callable[[int], nn.LayerNorm | RMSNorm] = nn.LayerNorm,
        fused_add_norm: bool = False,
        residual_in_fp32: bool = False,
    ) -> None:
        super().__init__(dim, mixer_cls, nn.Identity, norm_cls, fused_add_norm, residual_in_fp32)
