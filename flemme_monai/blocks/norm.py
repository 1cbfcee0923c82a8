"""Normalisation by name, for features that are logically channel-first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.utils import get_norm_layer
from torch import nn

NORMS = ("batch", "group", "instance", "layer", None)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a channel-first feature (Ba et al. 2016).

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise ``input`` (B, C, *s) at every position."""
        # (B, C, *s) -> (B, *s, C) -> (B, C, *s)
        x = input.movedim(1, -1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).movedim(-1, 1)


def make_norm(name: str | None, spatial_dims: int, channels: int, num_groups: int = 8) -> nn.Module:
    """The normalisation layer of that name.

    Args:
        name: ``batch``, ``group``, ``instance``, ``layer`` or None.
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_groups: groups of the group norm; must divide ``channels``.

    Raises:
        ValueError: for another name, or groups that do not divide the channels.
    """
    if name is None:
        return nn.Identity()
    if name == "layer":
        return ChannelLayerNorm(channels)
    if name == "group":
        if channels % num_groups:
            raise ValueError(f"group norm: num_groups={num_groups} does not divide {channels} channels.")
        return nn.GroupNorm(num_groups, channels)
    if name in ("batch", "instance"):
        return get_norm_layer((name, {"affine": True}), spatial_dims=spatial_dims, channels=channels)
    raise ValueError(f"norm is {name!r}; expected one of {', '.join(map(repr, NORMS))}.")
