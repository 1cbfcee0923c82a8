"""The block of Mix Transformers: attention to reduced keys, and a perceptron that looks at its neighbours."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .layers import Linear
from .metaformer import MetaFormerBlock
from .vit import SpatialReductionAttention


class MixFFN(nn.Module):
    """Two linear layers over channels with a depthwise 3x3 convolution and an activation between them, which tells a
    position where the border is (SegFormer, Xie et al. 2021, eq. 3; the shortcut is the block's).

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        ratio: hidden width over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an activation.
    """

    def __init__(
        self, spatial_dims: int, channels: int, ratio: float = 4.0, act: str | tuple = "gelu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1 = Linear(channels, hidden)
        self.dwconv = Conv["conv", spatial_dims](hidden, hidden, 3, padding=1, groups=hidden)
        self.act = get_act_layer(act)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, *s, C) to the same shape."""
        x = self.dwconv(self.fc1(x).movedim(-1, 1)).movedim(1, -1)
        return self.dropout(self.fc2(self.dropout(self.act(x))))


class MixBlock(MetaFormerBlock):
    """Attention to reduced keys, then :class:`MixFFN`, each after a layer norm and added to its input.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide ``channels``.
        spatial_reduction: factor by which keys and values are shrunk along each axis.
        mlp_ratio: hidden width of the perceptron over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        drop_path: probability that a sample skips a branch (Huang et al. 2016).
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_heads: int,
        spatial_reduction: int,
        mlp_ratio: float = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        attention = SpatialReductionAttention(spatial_dims, channels, num_heads, spatial_reduction, dropout)
        super().__init__(channels, attention, mlp_ratio, act, dropout, drop_path)
        self.mlp = MixFFN(spatial_dims, channels, mlp_ratio, act, dropout)
