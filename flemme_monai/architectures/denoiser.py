"""The base of the diffusion architectures: a backbone under time steps, plain or hierarchical."""

from __future__ import annotations

import torch
from torch import nn

from ..backbones import Backbone
from ..blocks import resized_like
from ..diffusion import Preconditioning
from .pyramid import Predictor


class Denoiser(Predictor):
    """A backbone from a noisy image, under time steps, to what its loss asks for.

    Args:
        backbone: a backbone with ``conditioning#timesteps``.
        fusion: as :class:`Predictor`; with ``sigma_data`` every level is preconditioned, at its resolution.
        sigma_data: standard deviation of the images of EDM (Karras et al. 2022), whose time steps are sigmas and which
            predicts the image, D(x; s) = c_skip(s) x + c_out(s) F(c_in(s) x; c_noise(s)) (equation 7), F the backbone;
            None: the backbone's output is the prediction.

    Attributes:
        default_step: the time step of an image that comes alone.

    Raises:
        ValueError: If the backbone takes no time steps, or has no output layer at full resolution, or if EDM cannot add
            its output to its input.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None, sigma_data: float | None = None) -> None:
        backbone.require("denoise", type(self).__name__)
        conditioning = backbone.conditioning
        if conditioning is None or not conditioning.timesteps:
            raise ValueError(
                f"{type(self).__name__} needs a backbone that takes time steps: set conditioning#timesteps to true."
            )
        super().__init__(backbone, fusion)
        if sigma_data is not None and backbone.in_channels != backbone.out_channels:
            raise ValueError(
                f"in_channels is {backbone.in_channels} and out_channels {backbone.out_channels}; expected equal "
                "numbers: EDM adds its input to its output."
            )
        self.preconditioning = None if sigma_data is None else Preconditioning(sigma_data)
        self.ones = [1] * backbone.spatial_dims
        self.default_step = 0.0 if sigma_data is None else sigma_data
        self.null_context = conditioning.context or ""
        self.null_channels = 0 if self.null_context in ("", "class") else conditioning.size
        zero_init_last_conv(backbone.output_layer() if self.pyramid is None else self.pyramid.fuse)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Noisy image (B, C, *S) and time steps or sigmas (B) to the prediction (B, C, *S); in training a hierarchical
        denoiser gives ``[final, level_0, ...]``.

        In evaluation an image alone is taken at ``default_step``, under no context, for tools that check shapes.
        """
        timesteps, context = self.given(x, timesteps, context)
        if self.preconditioning is None:
            return self.for_loss(self.predict(x, timesteps, context))
        sigma = timesteps.float().view([-1, 1] + self.ones)
        c = self.preconditioning
        # the embedding tells whole steps apart, as those of a DDPM, and c_noise is about 1
        outputs = self.predict(c.c_in(sigma) * x, 1000.0 * c.c_noise(sigma).flatten(), context)
        images: list[torch.Tensor] = []
        for output in outputs:
            images.append(c.c_skip(sigma) * resized_like(x, output) + c.c_out(sigma) * output)
        return self.for_loss(images)

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
