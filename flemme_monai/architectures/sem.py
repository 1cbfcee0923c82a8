"""SeM: segmentation."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..backbones import Backbone
from .aligned import SpatialTransformer
from .segmentation import Segmentation


class SeM(Segmentation):
    """Segmentation model: the backbone's output are the logits of the classes; side outputs are supervised too.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
        alignment: as :class:`Segmentation`.

    Attributes:
        num_levels: the backbone's side outputs in training.
        level_weights: the weights of their losses, where the output's is 1.
    """

    supervises_sides: ClassVar[bool] = True

    def __init__(self, backbone: Backbone, alignment: SpatialTransformer | None = None) -> None:
        super().__init__(backbone, alignment=alignment)
        self.num_levels, self.level_weights = backbone.num_sides, backbone.side_weights

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """The logits (B, C, *S), and in training those of the side outputs, the finest first."""
        out = self.backbone(x, timesteps, context)
        return [out.output] + out.sides
