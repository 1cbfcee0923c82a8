"""What most architectures share: a backbone's output as a prediction, and with a pyramid one more per level."""

from __future__ import annotations

import torch

from ..backbones import Backbone
from ..utils.network_config import ConfiguredModule
from .pyramid import Pyramid


class Predictor(ConfiguredModule):
    """A backbone, plain or hierarchical.

    Args:
        backbone: makes the features and the output.
        fusion: None, or ``cat`` or ``add`` for a hierarchical network, which predicts at the latent and at every
            decoder stage too and fuses these (:class:`Pyramid`).

    Attributes:
        num_levels: predictions in training beside the final one.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = None if fusion is None else Pyramid(backbone, fusion)
        self.num_levels: int = 0 if self.pyramid is None else self.pyramid.num_levels

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """The final prediction (B, C, *S); in training also those of the levels (B, C, *s_i), coarse to fine."""
        out = self.backbone(x, timesteps, context)
        if self.pyramid is None:
            return [out.output]
        predictions = self.pyramid(out)
        return predictions if self.training else predictions[:1]

    def for_loss(self, predictions: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """``[final, level_0, ...]`` in training where there are levels, else the final prediction."""
        if self.training and self.num_levels > 0 and not torch.jit.is_scripting():
            return predictions
        return predictions[0]
