"""SeM: segmentation."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule


class SeM(ConfiguredModule):
    """Segmentation model: the backbone's output are the logits of the classes.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Image (B, in_channels, *S) to logits (B, num_classes, *S)."""
        return self.backbone(x, timesteps, context).output
