"""An image as context, seen by an encoder of its own: any backbone's first half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pydoc import locate
from typing import Any, cast

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import linear_resize
from ..utils.network_config import is_own


class ContextEncoder(nn.Module):
    """The latent of an image, projected to the width of the embeddings.

    Args:
        path: dotted path of a backbone of this package, such as ``flemme_monai.backbones.ViT``.
        settings: its arguments beside ``spatial_dims`` and the channels.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: width of the embedding.
        size_divisor: what sizes of the images are multiples of, along each axis. Where the backbone's own stride does
            not divide it, images are resized to the next larger size that has at least two positions.

    Raises:
        ValueError: If there is no such backbone, or it has no latent.
    """

    def __init__(
        self,
        path: str,
        settings: Mapping[str, Any],
        spatial_dims: int,
        in_channels: int,
        channels: int,
        size_divisor: Sequence[int],
    ) -> None:
        from .backbone import Backbone  # which imports the conditions

        super().__init__()
        found = locate(path) if is_own(path) else None
        if not (isinstance(found, type) and issubclass(found, Backbone)):
            raise ValueError(
                f"image_encoder is {path!r}; expected a backbone of flemme_monai, such as flemme_monai.backbones.ViT"
            )
        sizes = {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": 1}
        try:
            backbone = cast("type[Any]", found)(**sizes, **settings)
        except TypeError as error:
            raise ValueError(f"image_encoder_settings: {error}; expected arguments of {path}") from error
        backbone.require("encode", "an image as context")
        self.encoder = backbone.without_decoder()
        self.strides: list[int] = list(backbone.size_divisor)
        self.fits = all(n % d == 0 for n, d in zip(size_divisor, self.strides))
        self.proj = Conv["conv", spatial_dims](backbone.latent_channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, *S) to (B, channels, *s)."""
        if not self.fits:
            x = linear_resize(x, [max(-(-n // d), 2) * d for n, d in zip(x.shape[2:], self.strides)])
        return self.proj(self.encoder(x))
