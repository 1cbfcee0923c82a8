"""EDM: generation by a preconditioned denoiser."""

from __future__ import annotations

import torch

from ..backbones import Backbone
from ..blocks import resized_like
from ..diffusion import Preconditioning
from .denoiser import Denoiser


class EDM(Denoiser):
    """Elucidated diffusion model (Karras et al. 2022): the image in a noisy one, preconditioned for every sigma.

    D(x; s) = c_skip(s) x + c_out(s) F(c_in(s) x; c_noise(s)), equation 7; F is the backbone.

    Args:
        backbone: as :class:`Denoiser`, with equal channels of input and output.
        fusion: as :class:`Denoiser`; every level is preconditioned, at its resolution.
        sigma_data: standard deviation of the images.

    Raises:
        ValueError: If the backbone's output cannot be added to its input.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None, sigma_data: float = 0.5) -> None:
        super().__init__(backbone, fusion)
        if backbone.in_channels != backbone.out_channels:
            raise ValueError(
                f"in_channels is {backbone.in_channels} and out_channels {backbone.out_channels}; expected equal "
                "numbers: EDM adds its input to its output."
            )
        self.preconditioning = Preconditioning(sigma_data)
        self.default_step = sigma_data
        self.ones = [1] * backbone.spatial_dims

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Noisy image (B, C, *S) and sigmas (B) to the image (B, C, *S); in training a hierarchical denoiser gives
        ``[final, level_0, ...]``.

        In evaluation an image alone is taken at sigma ``sigma_data``, under no context, for tools that check shapes.
        """
        timesteps, context = self.given(x, timesteps, context)
        sigma = timesteps.float().view([-1, 1] + self.ones)
        c = self.preconditioning
        # the embedding tells whole steps apart, as those of a DDPM, and c_noise is about 1
        outputs = self.predict(c.c_in(sigma) * x, 1000.0 * c.c_noise(sigma).flatten(), context)
        images: list[torch.Tensor] = []
        for output in outputs:
            images.append(c.c_skip(sigma) * resized_like(x, output) + c.c_out(sigma) * output)
        return self.for_loss(images)
