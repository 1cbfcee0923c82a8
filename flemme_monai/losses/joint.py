"""The loss of a latent diffusion model that is trained together with its autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class JointLoss(nn.Module):
    """The autoencoder's loss plus the denoiser's.

    Args:
        autoencoding: of what an autoencoder gives in training, and the image, as :class:`VAELoss`.
        denoising: of a denoiser's prediction and its target, as :func:`pyramid_loss`.

    Attributes:
        recorded: of the last call, the terms of both, those of the latents as ``latent_<name>``.
    """

    def __init__(
        self,
        autoencoding: Callable[[Sequence[torch.Tensor], torch.Tensor], torch.Tensor],
        denoising: Callable[[Any, torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.autoencoding, self.denoising = autoencoding, denoising
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(self, output: Sequence[Any], target: torch.Tensor) -> torch.Tensor:
        """Loss of what ``flemme_monai.diffusion.JointInferer`` gives and the images (B, C, *S)."""
        _, reconstruction, noise_target, prediction = output
        restoring, denoising = self.autoencoding(reconstruction, target), self.denoising(prediction, noise_target)
        terms = getattr(self.denoising, "recorded", {"denoising": denoising.detach()})
        self.recorded = {
            **getattr(self.autoencoding, "recorded", {"reconstruction": restoring.detach()}),
            **{f"latent_{name}": value for name, value in terms.items()},
        }
        return restoring + denoising
