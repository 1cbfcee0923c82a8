"""The block of transformers and Mamba: a token mixer and a perceptron."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from monai.networks.layers.drop_path import DropPath
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .layers import Linear


class MLP(nn.Sequential):
    """Linear layers over channels, two or more, with an activation between them.

    Args:
        channels: number of channels.
        ratio: hidden width over ``channels``, or one for each of several hidden layers.
        act: any activation MONAI names.
        dropout: probability of dropping an activation.
    """

    def __init__(
        self,
        channels: int,
        ratio: float | Sequence[float] = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
    ) -> None:
        ratios = list(ratio) if isinstance(ratio, Sequence) else [ratio]
        sizes = [channels, *(int(channels * each) for each in ratios)]
        layers: dict[str, nn.Module] = {}
        for i, (before, after) in enumerate(pairwise(sizes), start=1):
            number = "" if i == 1 else str(i)
            layers[f"fc{i}"] = Linear(before, after)
            layers |= {f"act{number}": get_act_layer(act), f"dropout{number}": nn.Dropout(dropout)}
        layers[f"fc{len(sizes)}"] = Linear(sizes[-1], channels)
        super().__init__(OrderedDict(layers))


class MetaFormerBlock(nn.Module):
    """A token mixer, then an MLP, each after a norm and added to its input (MetaFormer, Yu et al. 2022).

    Args:
        channels: number of channels.
        token_mixer: mixes positions, from (B, *s, C) to the same.
        mlp_ratio: hidden width of the MLP over ``channels``, or one per hidden layer.
        act: any activation MONAI names.
        dropout: probability of dropping an activation.
        drop_path: probability that a sample skips a branch (Huang et al. 2016).
        norm: makes the norm of tokens (B, *s, C) of that many channels.
    """

    def __init__(
        self,
        channels: int,
        token_mixer: nn.Module,
        mlp_ratio: float | Sequence[float] = 4.0,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.token_mixer = token_mixer
        self.norm2 = norm(channels)
        self.mlp: nn.Module = MLP(channels, mlp_ratio, act, dropout)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, *s, C) to (B, *s, C)."""
        x = x + self.drop_path(self.token_mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
