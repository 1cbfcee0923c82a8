"""HSeM: hierarchical segmentation."""

from __future__ import annotations

import torch

from ..backbones import Backbone
from .pyramid import Predictor


class HSeM(Predictor):
    """Hierarchical segmentation model: logits at every level, fused; trained with a pyramid loss.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
        fusion: how the levels are fused, ``cat`` or ``add``.
    """

    def __init__(self, backbone: Backbone, fusion: str = "cat") -> None:
        super().__init__(backbone, fusion)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to ``[final, level_0, ...]`` in training, the final logits in evaluation."""
        return self.for_loss(self.predict(x, timesteps, context))
