"""HSeM: hierarchical segmentation."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule
from .pyramid import Pyramid


class HSeM(ConfiguredModule):
    """Hierarchical segmentation model: logits at every level, fused; trained with a pyramid loss.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
        fusion: how the levels are fused, ``cat`` or ``add``.
    """

    def __init__(self, backbone: nn.Module, fusion: str = "cat") -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone, fusion)

    @property
    def num_levels(self) -> int:
        """Levels of the pyramid: the latent and the decoder's stages."""
        return self.pyramid.num_levels

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to ``[final, level_0, ...]`` in training, the final logits in evaluation."""
        out = self.backbone(x, timesteps, context)
        final, levels = self.pyramid(out.output, out.features, out.latent, out.time, out.context)
        if self.training and not torch.jit.is_scripting():
            return [final] + levels
        return final
