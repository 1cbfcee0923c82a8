"""What the blocks of transformers and Mamba share: everything but how positions are mixed."""

from __future__ import annotations

import torch
from monai.networks.layers.drop_path import DropPath
from torch import nn

from .mlp import MLP


class MetaFormerBlock(nn.Module):
    """A token mixer, then an MLP, each after a layer norm and added to its input (MetaFormer, Yu et al. 2022).

    Args:
        channels: number of channels.
        token_mixer: mixes positions, from (B, *s, C) to the same.
        mlp_ratio: hidden width of the MLP over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an activation.
        drop_path: probability that a sample skips a branch (Huang et al. 2016).
    """

    def __init__(
        self,
        channels: int,
        token_mixer: nn.Module,
        mlp_ratio: float = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.token_mixer = token_mixer
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, mlp_ratio, act, dropout)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, *s, C) to (B, *s, C)."""
        x = x + self.drop_path(self.token_mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
