"""Attention to a memory that all images share (external attention, Guo et al., TPAMI 2023)."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .conv import ConvBlock


class ExternalAttention(nn.Module):
    """Every position asks a few learned memories instead of all other positions, so that the cost is linear in them.

    The weights of a memory sum to one over the positions (softmax), then those of a position are divided by their sum
    over the memories (l1 norm): section 3.2, algorithm 1.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        memories: rows of the two memories.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        num_groups: groups of a group norm.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        memories: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        num_groups: int = 8,
    ) -> None:
        super().__init__()
        self.query = Conv["conv", spatial_dims](channels, channels, 1)
        self.keys = nn.Conv1d(channels, memories, 1, bias=False)
        self.values = nn.Conv1d(memories, channels, 1, bias=False)
        with torch.no_grad():  # the authors' beginning: what a memory answers is what it was asked for
            self.values.weight.copy_(self.keys.weight.transpose(0, 1))
        self.proj = ConvBlock(
            spatial_dims, channels, channels, kernel_size=1, norm=norm, act=None, num_groups=num_groups, bias=False
        )
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape; L positions, M memories."""
        weight = self.keys(self.query(x).flatten(2)).softmax(-1)  # (B, C, L) -> (B, M, L)
        weight = weight / (weight.sum(1, keepdim=True) + 1e-9)
        out = self.values(weight).reshape(x.shape)  # (B, C, L) -> (B, C, *s)
        return self.act(self.proj(out) + x)
