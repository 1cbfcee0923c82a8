"""Context of the object that a position belongs to: by similar positions (OCNet), or by regions of classes (OCRNet).

Shapes: N positions, C channels, K regions, Q channels of queries, keys and values.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Dropout
from torch import nn

from .conv import ConvBlock
from .position_attention import PositionAttention


class ObjectContext(nn.Module):
    """The mean over similar positions beside the feature, then a 1x1 convolution (OCNet's base form, Yuan et al. 2018).

    What attention gives is projected by a convolution that begins at zero.

    Args:
        spatial_dims: 2 or 3.
        channels: channels C of the input and of the output.
        key_channels: channels Q; queries and keys are the same map.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel of the output is dropped.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        key_channels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = PositionAttention(
            spatial_dims, channels, key_channels, key_channels, norm=norm, act=act, shared=True, scaled=True
        )
        self.proj = Conv["conv", spatial_dims](key_channels, channels, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)
        self.fuse = ConvBlock(spatial_dims, 2 * channels, channels, kernel_size=1, norm=norm, act=act)
        self.dropout = Dropout["dropout", spatial_dims](dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        return self.dropout(self.fuse(torch.cat([self.proj(self.attention(x)), x], 1)))


class ObjectRegions(nn.Module):
    """A vector per region: the mean of the positions, weighed by softmax over the positions of the region's map
    (OCRNet, Yuan et al. 2020, equation 1)."""

    def forward(self, pixels: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """``pixels`` (B, C, *s) and ``regions`` (B, K, *s), logits of soft regions, to (B, C, K)."""
        weights = regions.flatten(2).softmax(-1)  # (B, K, N)
        return pixels.flatten(2) @ weights.transpose(1, 2)


class ObjectAttention(nn.Module):
    """Each position becomes a mean of the region vectors, by softmax over the **regions** of their likeness to it
    (OCRNet, Yuan et al. 2020, equations 2 and 3).

    An instance norm over the few regions of an image would leave little of them, so that what sees region vectors has
    no norm under it.

    Args:
        spatial_dims: 2 or 3.
        channels: channels C of the positions, the regions and the output.
        key_channels: channels Q.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        key_channels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()

        def transforms(before: int, after: int, count: int, norm: str | None) -> nn.Sequential:
            return nn.Sequential(
                *(
                    ConvBlock(spatial_dims, after if i else before, after, kernel_size=1, norm=norm, act=act)
                    for i in range(count)
                )
            )

        of_regions = None if norm == "instance" else norm
        self.query = transforms(channels, key_channels, 2, norm)
        self.key = transforms(channels, key_channels, 2, of_regions)
        self.value = transforms(channels, key_channels, 1, of_regions)
        self.up = transforms(key_channels, channels, 1, norm)
        self.scale = key_channels**-0.5
        self.ones = [1] * (spatial_dims - 1)

    def forward(self, pixels: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """``pixels`` (B, C, *s) and region vectors ``objects`` (B, C, K) to (B, C, *s)."""
        objects = objects.reshape(list(objects.shape) + self.ones)  # (B, C, K, 1, ...), as convolutions take it
        query = self.query(pixels)  # (B, Q, *s)
        key, value = self.key(objects).flatten(2), self.value(objects).flatten(2)  # (B, Q, K)
        weights = (query.flatten(2).transpose(1, 2) @ key * self.scale).softmax(-1)  # (B, N, K)
        context = (weights @ value.transpose(1, 2)).transpose(1, 2)  # (B, Q, N)
        return self.up(context.reshape(query.shape))
