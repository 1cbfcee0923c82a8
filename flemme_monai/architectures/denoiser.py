"""The base of the diffusion architectures: a backbone under time steps, plain or hierarchical."""

from __future__ import annotations

import torch
from torch import nn

from ..backbones import Backbone
from .pyramid import Predictor


class Denoiser(Predictor):
    """A backbone from a noisy image, under time steps, to what its loss asks for.

    Args:
        backbone: a backbone with ``conditioning#timesteps``.
        fusion: as :class:`Predictor`.

    Attributes:
        default_step: the time step of an image that comes alone.

    Raises:
        ValueError: If the backbone takes no time steps, or has no output layer at full resolution.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        backbone.require("denoise", type(self).__name__)
        conditioning = backbone.conditioning
        if conditioning is None or not conditioning.timesteps:
            raise ValueError(
                f"{type(self).__name__} needs a backbone that takes time steps: set conditioning#timesteps to true."
            )
        super().__init__(backbone, fusion)
        self.default_step = 0.0
        self.null_context = conditioning.context or ""
        self.null_channels = 0 if self.null_context in ("", "class") else conditioning.size
        zero_init_last_conv(backbone.output_layer() if self.pyramid is None else self.pyramid.fuse)

    def given(
        self, x: torch.Tensor, timesteps: torch.Tensor | None, context: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The conditions of ``forward``; beside an image alone, in evaluation, ``default_step`` and no context.

        Raises:
            ValueError: If time steps are missing in training, or beside a context.
        """
        if timesteps is not None:
            return timesteps, context
        if self.training or context is not None:
            raise ValueError(
                "timesteps are missing: a denoiser takes an image alone in evaluation only, where tools check shapes."
            )
        if self.null_context:
            size = [x.shape[0]]  # classes (B), indices (B, n) or an image (B, C, *S)
            if self.null_channels > 0:
                size.append(self.null_channels)
            if self.null_context == "image":
                size += list(x.shape[2:])
            none = float("nan") if self.null_context == "vector" else -1.0
            context = torch.full(size, none, device=x.device)
        return torch.full([x.shape[0]], self.default_step, device=x.device), context


def zero_init_last_conv(module: nn.Module) -> None:
    """Make a module's last layer give 0 at first, so that training begins at the mean (Dhariwal and Nichol 2021).

    Raises:
        ValueError: If the module has no convolution.
    """
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.modules.conv._ConvNd)]
    if not convolutions:
        raise ValueError(
            f"the output layer {type(module).__name__} has no convolution; expected one that makes the output: name "
            "it in the decoder's output_layer."
        )
    nn.init.zeros_(convolutions[-1].weight)
    if convolutions[-1].bias is not None:
        nn.init.zeros_(convolutions[-1].bias)
