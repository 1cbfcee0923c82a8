"""HAE: hierarchical auto-encoding and reconstruction."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule
from .pyramid import Pyramid
from .residual import Residual, Standardization


class HAE(ConfiguredModule):
    """Hierarchical auto-encoder: an image at every level, fused; trained with a pyramid loss.

    The backbone sees standardised images, and each image's mean and deviation are put back at every level.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        fusion: how the levels are fused, ``cat`` or ``add``.
        residual: as in :class:`AE`; the input is added to every level, at the level's resolution.

    Raises:
        ValueError: when ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: nn.Module, fusion: str = "cat", residual: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone, fusion)
        self.standardize = Standardization(backbone.spatial_dims, backbone.in_channels == backbone.out_channels)
        self.residual = Residual(backbone, 1 + self.pyramid.num_levels) if residual else None

    @property
    def num_levels(self) -> int:
        """Levels of the pyramid: the latent and the decoder's stages."""
        return self.pyramid.num_levels

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to ``[final, level_0, ...]`` in training, the final image in evaluation."""
        standard, mean, std = self.standardize(x)
        out = self.backbone(standard, timesteps, context)
        final, levels = self.pyramid(out.output, out.features, out.latent, out.time, out.context)
        images = [final] + levels if self.training else [final]
        if self.residual is not None:
            images = self.residual(x, images, std)
        else:
            images = [image * std + mean for image in images]
        if self.training and not torch.jit.is_scripting():
            return images
        return images[0]
