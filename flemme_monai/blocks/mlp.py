"""The perceptron of transformer and Mamba blocks."""

from __future__ import annotations

from collections import OrderedDict

from monai.networks.layers.utils import get_act_layer
from torch import nn

from .linear import Linear


class MLP(nn.Sequential):
    """Two linear layers over channels with an activation between them.

    Args:
        channels: number of channels.
        ratio: hidden width over ``channels``.
        act: any activation MONAI names.
        dropout: probability of dropping an activation.
    """

    def __init__(self, channels: int, ratio: float = 4.0, act: str | tuple = "gelu", dropout: float = 0.0) -> None:
        hidden = int(channels * ratio)
        layers = {"fc1": Linear(channels, hidden), "act": get_act_layer(act)}
        layers |= {"dropout": nn.Dropout(dropout), "fc2": Linear(hidden, channels)}
        super().__init__(OrderedDict(layers))
