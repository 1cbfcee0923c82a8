"""ClM: classification."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..backbones import Backbone
from ..blocks import area_resize
from .architecture import Architecture


class ClM(Architecture):
    """Classification model: the backbone's encoder, its latent pooled, dense layers, the logits of the classes.

    Args:
        backbone: its encoder is used; its ``out_channels`` is the number of classes.
        grid_size: points along each axis to which the latent is pooled; 1 takes the mean over all positions, more tells
            the dense layers where something is.
        hidden: widths of linear layers before the linear one.
        dropout: probability that a value is dropped before each of these layers.

    Raises:
        ValueError: If the backbone has no latent, or passes it through a vector, or has a condition in the decoder.
    """

    def __init__(
        self, backbone: Backbone, grid_size: int = 1, hidden: Sequence[int] = (), dropout: float = 0.0
    ) -> None:
        backbone.require("encode", "ClM")
        if backbone.bottleneck is not None:
            raise ValueError("latent_size has no use in a ClM, which has no decoder; set grid_size and hidden instead.")
        conditioning = backbone.conditioning
        if conditioning is not None and conditioning.side == "decoder":
            raise ValueError("side='decoder' has no use in a ClM, which has no decoder; set it to 'encoder'.")
        if grid_size < 1:
            raise ValueError(f"grid_size is {grid_size}; expected 1, which is the mean, or more.")
        super().__init__(backbone.without_decoder())
        self.grid = [grid_size] * backbone.spatial_dims
        self.norm = nn.LayerNorm(backbone.latent_channels)
        layers: list[nn.Module] = []
        width = backbone.latent_channels * grid_size**backbone.spatial_dims
        for out in hidden:
            layers += [nn.Dropout(dropout), nn.Linear(width, out), nn.GELU()]
            width = out
        self.mlp = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, backbone.out_channels))

    def output_layers(self) -> list[nn.Module]:
        """The linear layer."""
        return [self.head]

    @torch.jit.export
    def features(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to what the linear layer sees, (B, F)."""
        pooled = area_resize(self.backbone(x, timesteps, context), self.grid)  # (B, C, *grid)
        return self.mlp(self.norm(pooled.movedim(1, -1)).flatten(1))

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to logits (B, num_classes)."""
        return self.head(self.features(x, timesteps, context))
