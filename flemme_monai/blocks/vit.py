"""Global self-attention over the positions of a feature (Vision Transformer, Dosovitskiy et al. 2021).

Glossary: B batch, C channels, s size of the feature along each axis, L tokens (the product of s), h heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from .layers import Linear
from .metaformer import MetaFormerBlock


class SpatialReductionAttention(nn.Module):
    """Multi-head self-attention of every position to all, or to a reduced map of them (PVT, Wang et al. 2021).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.
        spatial_reduction: keys and values come from the feature shrunk by this factor along each axis, by a strided
            convolution; 1 keeps all.
        dropout: probability of dropping an attention weight and an output.
        qkv_bias: whether the maps to queries, keys and values have a bias.
        attention_dropout: of attention weights alone; None takes ``dropout``.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_heads: int,
        spatial_reduction: int = 1,
        dropout: float = 0.0,
        qkv_bias: bool = True,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"attention: num_heads is {num_heads}; expected a divisor of the {channels} channels.")
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_dropout = dropout if attention_dropout is None else attention_dropout
        self.reduction = spatial_reduction
        self.query = Linear(channels, channels, qkv_bias)
        self.key_value = Linear(channels, 2 * channels, qkv_bias)
        self.proj = Linear(channels, channels)
        if spatial_reduction > 1:
            self.reduce: nn.Module = Conv["conv", spatial_dims](
                channels, channels, spatial_reduction, stride=spatial_reduction
            )
            self.norm: nn.Module = nn.LayerNorm(channels)
        else:
            self.reduce = self.norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over all positions of ``x`` (B, *s, C)."""
        batch, channels = x.shape[0], x.shape[-1]
        source = x
        if self.reduction > 1:
            source = x.movedim(-1, 1)
            pad: list[int] = []
            for n in source.shape[2:][::-1]:
                pad += [0, -n % self.reduction]
            source = self.norm(self.reduce(F.pad(source, pad)).movedim(1, -1))
        # (B, L, C) -> (B, h, L, C / h)
        q = self.query(x).reshape(batch, -1, self.num_heads, channels // self.num_heads).transpose(1, 2)
        kv = self.key_value(source).reshape(batch, -1, 2, self.num_heads, channels // self.num_heads)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attention_dropout if self.training else 0.0)
        return F.dropout(self.proj(out.transpose(1, 2).reshape(x.shape)), self.dropout, self.training)


class ViTBlock(MetaFormerBlock):
    """Global attention, then an MLP, each after a layer norm and added to its input (Dosovitskiy et al. 2021, eq. 2-3).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.
        spatial_reduction: factor by which keys and values are shrunk along each axis.
        mlp_ratio: hidden width of the MLP over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        drop_path: probability that a sample skips a branch (Huang et al. 2016).
        qkv_bias, attention_dropout: as of :class:`SpatialReductionAttention`.
        norm: as of :class:`.MetaFormerBlock`.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_heads: int,
        spatial_reduction: int = 1,
        mlp_ratio: float | Sequence[float] = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        qkv_bias: bool = True,
        attention_dropout: float | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        attention = SpatialReductionAttention(
            spatial_dims, channels, num_heads, spatial_reduction, dropout, qkv_bias, attention_dropout
        )
        super().__init__(channels, attention, mlp_ratio, act, dropout, drop_path, norm)
