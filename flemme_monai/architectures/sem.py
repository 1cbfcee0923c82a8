"""SeM: segmentation."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..backbones import Backbone
from .pyramid import Predictor


class SeM(Predictor):
    """Segmentation model: the backbone's output are the logits of the classes; side outputs are supervised too.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.

    Attributes:
        num_levels: the backbone's side outputs in training.
        level_weights: the weights of their losses, where the output's is 1.
    """

    supervises_sides: ClassVar[bool] = True

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.num_levels, self.level_weights = backbone.num_sides, backbone.side_weights

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to logits (B, num_classes, *S); in training, where the backbone has side outputs,
        ``[logits, side_0, ...]``, the finest first."""
        out = self.backbone(x, timesteps, context)
        return self.for_loss([out.output] + out.sides)
