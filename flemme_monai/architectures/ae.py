"""AE: auto-encoding, and reconstruction from a degraded image."""

from __future__ import annotations

import torch

from ..backbones import Backbone
from .reconstruction import Reconstruction


class AE(Reconstruction):
    """Auto-encoder, or reconstruction model when the input is a degraded image.

    A latent carries each image's means and deviations in channels of its own after the backbone's, so that it makes an
    image alone.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        residual: add the output to the input, so that the network learns what the degradation took away; for
            reconstruction only, since an auto-encoder would have nothing left to learn.

    Raises:
        ValueError: If ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: Backbone, residual: bool = False) -> None:
        super().__init__(backbone, None, residual)

    def encode(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Image (B, in_channels, *S) to its latent (B, C + 2K, *s): the backbone's, then the means of its K channels
        and the logarithms of their deviations, the same at every position.

        Raises:
            ValueError: If the network has no latent.
        """
        self.backbone.require("encode", "AE.encode")
        standard, mean, std = self.standardize(x)
        conditions = self.backbone.embed(x.shape[0], list(x.shape[2:]), None, context)
        latent, _ = self.backbone.encode(standard, conditions)
        statistics = torch.cat([mean, std.log()], 1)  # (B, 2K, 1, ...)
        return torch.cat([latent, statistics.expand([-1, -1] + list(latent.shape[2:]))], 1)

    def decode(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Latent (B, C + 2K, *s), as :meth:`encode` makes it, to image (B, out_channels, *S).

        Raises:
            ValueError: If the network needs more of the image than its latent, or the latent is another.
        """
        if self.residual is not None:
            raise ValueError(
                "residual=True adds the input to the output, so no image comes from a latent alone: take an "
                "auto-encoder, which was trained with degradation 'none'."
            )
        self.backbone.require("decode", "AE.decode")
        channels, statistics = self.backbone.latent_channels, 2 * self.standardize.channels
        if z.shape[1] != channels + statistics:
            raise ValueError(
                f"the latent has {z.shape[1]} channels; expected {channels} of the backbone and {statistics} with the "
                "image's means and log deviations: take what encode makes."
            )
        size = [n * d for n, d in zip(z.shape[2:], self.backbone.size_divisor)]
        conditions = self.backbone.embed(z.shape[0], size, None, context)
        axes = list(range(2, z.ndim))
        mean, log_std = z[:, channels:].mean(axes, keepdim=True).chunk(2, 1)
        return self.backbone.decode(z[:, :channels], [], conditions).output * log_std.exp() + mean
