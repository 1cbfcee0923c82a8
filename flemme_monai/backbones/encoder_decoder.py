"""The one encoder-decoder behind every composed backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from ..blocks import Stage, area_resize
from ..utils.network_config import ConfiguredModule
from .conditioning import Conditioning, Conditions
from .decoder import Decoder
from .encoder import Encoder
from .family import BlockFamily
from .levels import Levels
from .output import BackboneOutput


class DenseLatent(nn.Module):
    """A latent vector: the feature is pooled to a small grid, made a vector, and unfolded again.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the feature.
        size: length of the vector.
        grid_size: points along each axis; features of any size are pooled to it, so no weight depends on an image's.
    """

    def __init__(self, spatial_dims: int, channels: int, size: int, grid_size: int = 4) -> None:
        super().__init__()
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.grid = [grid_size] * spatial_dims
        points = grid_size**spatial_dims
        self.to_vector = nn.Linear(channels * points, size)
        self.to_feature = nn.Linear(size, channels * points)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) through a vector (B, size) back to (B, C, *s)."""
        pooled = area_resize(x, self.grid).flatten(1)
        vector = self.to_vector(pooled)
        feature = self.to_feature(vector).view([x.shape[0], x.shape[1]] + self.grid)
        return F.interpolate(feature, size=x.shape[2:], mode=self.mode, align_corners=False)


class EncoderDecoder(ConfiguredModule):
    """An encoder-decoder made of a block family and a connection.

    image -> patch embedding -> [blocks -> keep -> down] x stages -> middle blocks -> latent -> [up -> fuse -> blocks]
    x stages -> final blocks -> patch recovery -> output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        family: settings of the blocks; None takes the family's defaults.
        patch_size: the image's pixels a feature, one number or one an axis.
        patch_channels: width of the patch embedding.
        channels: width of each stage, fine to coarse; the decoder mirrors them.
        middle_channels: width of each group of middle blocks.
        final_channels: width of each group of blocks between the last stage and the patch recovery.
        num_blocks: blocks a stage; one number, or one a level (the stages fine to coarse, then the middle).
        strides: downsampling after each stage: one number, or one entry a stage, each a number or one number an axis
            (thin volumes: ``[[2, 2, 1], [2, 2, 2]]``).
        drop_path: largest probability that a sample skips a residual branch; grows linearly along the encoder, falls
            along the decoder.
        latent_size: length of a dense latent vector, for plain encoders only; None keeps the latent a feature.
        position_embedding: whether an absolute position embedding is added after the patch embedding; None takes the
            family's.
        conditioning: time steps and context that the network takes; None takes neither.
        checkpointing: recompute each stage's activations in the backward pass instead of keeping them.
        channels_last: memory format of the features; None takes the family's.

    Attributes:
        family_type: the class of block family that a subclass is made of.
        connection: which earlier features a stage sees: ``none``, ``skip`` (the encoder's of the same level) or
            ``dense`` (all).
        size_divisor: total stride along each axis; image sizes must be multiples of it.
        latent_channels, feature_channels: widths of what :class:`BackboneOutput` holds.

    Raises:
        ValueError: for settings that do not fit each other; the message names them.
    """

    family_type: ClassVar[type[BlockFamily]]
    connection: ClassVar[str]

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        family: BlockFamily | None = None,
        patch_size: int | Sequence[int] = 2,
        patch_channels: int = 32,
        channels: Sequence[int] = (64, 128),
        middle_channels: Sequence[int] = (256, 256),
        final_channels: Sequence[int] = (),
        num_blocks: int | Sequence[int] = 2,
        strides: int | Sequence[int | Sequence[int]] = 2,
        drop_path: float = 0.0,
        latent_size: int | None = None,
        position_embedding: bool | None = None,
        conditioning: Conditioning | None = None,
        checkpointing: bool = False,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}; expected 2 or 3.")
        family = self.family_type() if family is None else family
        if not isinstance(family, self.family_type):
            raise ValueError(
                f"{type(self).__name__} is made of {self.family_type.__name__} blocks, but family is a "
                f"{type(family).__name__}."
            )
        if latent_size is not None and self.connection != "none":
            raise ValueError(
                f"latent_size={latent_size} with {self.connection} connections: the kept features would bypass the "
                "latent vector; use a plain encoder."
            )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.family = family
        located = family.position_embedding if position_embedding is None else position_embedding
        last = family.channels_last if channels_last is None else channels_last
        levels = Levels(
            spatial_dims,
            family,
            self.connection,
            patch_size,
            patch_channels,
            channels,
            middle_channels,
            final_channels,
            num_blocks,
            strides,
            drop_path,
        )
        self.conditions = Conditions(conditioning, spatial_dims, family, levels.patch)
        self.encoder = Encoder(levels, in_channels, self.conditions, located, last)
        self.latent_channels = self.encoder.latent_channels
        self.latent_vector: nn.Module = nn.Identity()
        if latent_size is not None:
            self.latent_vector = DenseLatent(spatial_dims, self.latent_channels, latent_size)
        self.decoder = Decoder(levels, self.encoder.kept, out_channels, self.conditions)
        self.size_divisor = self.encoder.size_divisor
        self.feature_channels = self.decoder.feature_channels
        for module in self.modules():
            if isinstance(module, Stage):
                module.checkpointing = checkpointing

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> BackboneOutput:
        """The image (B, in_channels, *S) to the output and all that an architecture may need.

        Args:
            x: image.
            timesteps: (B) or (1).
            context: classes (B), indices (B, n), or an image (B, C, *S).

        Raises:
            ValueError: for a shape that does not fit, a condition that this backbone was not built for, or one that is
                missing.
        """
        time, told = self.conditions(x.shape[0], x.shape[2:], timesteps, context)
        feature, kept = self.encoder(x, time, told)
        latent = self.latent_vector(feature)
        output, features = self.decoder(latent, kept, time, told)
        return BackboneOutput(output, features, latent, time, told)
