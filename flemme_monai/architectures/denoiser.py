"""What the diffusion architectures share: a backbone that is told the time, plain or hierarchical."""

from __future__ import annotations

import torch
from torch import nn

from ..utils.network_config import ConfiguredModule
from .pyramid import Pyramid


class Denoiser(ConfiguredModule):
    """A backbone that looks at a noisy image and is told how noisy it is.

    Args:
        backbone: a backbone with ``conditioning#timesteps``.
        fusion: None, or ``cat`` or ``add`` for a hierarchical denoiser, which predicts at the latent and at every
            decoder stage too and fuses these (:class:`Pyramid`).

    Raises:
        ValueError: for a backbone that takes no time steps.
    """

    def __init__(self, backbone: nn.Module, fusion: str | None = None) -> None:
        super().__init__()
        conditioning = backbone.conditions.settings
        if conditioning is None or not conditioning.timesteps:
            raise ValueError(
                f"{type(self).__name__} needs a backbone that takes time steps: set conditioning#timesteps to true."
            )
        self.backbone = backbone
        self.pyramid = None if fusion is None else Pyramid(backbone, fusion)
        last = backbone.decoder.patch_recovery if self.pyramid is None else self.pyramid.fuse
        begin_with_zero(last)

    @property
    def num_levels(self) -> int:
        """Levels of the pyramid beside the final output; 0 without one."""
        return 0 if self.pyramid is None else self.pyramid.num_levels

    def predict(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None) -> list[torch.Tensor]:
        """The final prediction (B, C, *S), then those of the levels."""
        out = self.backbone(x, timesteps, context)
        if self.pyramid is None:
            return [out.output]
        final, levels = self.pyramid(out.output, out.features, out.latent)
        return [final] + levels


def begin_with_zero(module: nn.Module) -> None:
    """Make a module's last layer give 0 at first, so that training begins at the mean (Dhariwal and Nichol 2021)."""
    last = [layer for layer in module.modules() if isinstance(layer, nn.modules.conv._ConvNd)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
