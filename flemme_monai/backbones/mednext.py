"""The MedNeXt family and its three encoders: MedNeXt, MedNeXtU, MedNeXtD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import (
    MedNeXtBlock,
    MedNeXtDown,
    MedNeXtUp,
    Stage,
    StridedConv,
    TransposedConv,
    channel_attention,
)
from .connections import DenseConnection, NoConnection, SkipConnection
from .encoder_decoder import EncoderDecoder
from .family import BlockFamily, at_level


@dataclass(frozen=True)
class MedNeXtFamily(BlockFamily):
    """Settings of MedNeXt's stages (Roy et al., MICCAI 2023).

    Args:
        kernel_size: odd size of the convolutions per channel.
        expansion: hidden channels of a block over its own; one value, or one per level.
        channel_attention: None, ``ca``, ``eca`` or ``eca-ns`` after a stage; one value, or one per level.

    Raises:
        ValueError: If a number is not one of these.
    """

    kernel_size: int = 3
    expansion: int | Sequence[int] = 2
    channel_attention: str | Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kernel_size, int) or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; expected an odd whole number above 0.")
        values = self.expansion if isinstance(self.expansion, (list, tuple)) else [self.expansion]
        if not all(isinstance(n, int) and n > 0 for n in values):
            raise ValueError(f"expansion is {self.expansion}; expected a whole number above 0, or one per level.")

    @property
    def min_latent_positions(self) -> int:
        """A norm of each channel needs two."""
        return 2

    @property
    def norm_removes_channel_shift(self) -> bool:
        """A norm of each channel does."""
        return True

    def patch_embedding(
        self, spatial_dims: int, in_channels: int, channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """A linear map of each patch."""
        return StridedConv(spatial_dims, in_channels, channels, patch_size, overlap=False)

    def stage(
        self, spatial_dims: int, in_channels: int, out_channels: int, level: int, drop_path: Sequence[float]
    ) -> Stage:
        """``len(drop_path)`` blocks, after a 1x1 convolution where the width changes."""
        blocks: list[nn.Module] = [self._block(spatial_dims, out_channels, level, rate) for rate in drop_path]
        injection_channels = [out_channels] * len(blocks)
        attention = at_level(self.channel_attention, level, "channel_attention")
        if attention is not None:
            blocks.append(channel_attention(attention, spatial_dims, out_channels))
            injection_channels.append(0)
        if in_channels == out_channels:
            return Stage(blocks, injection_channels)
        proj = Conv["conv", spatial_dims](in_channels, out_channels, 1)
        return Stage([proj, *blocks], [0, *injection_channels])

    def pyramid_block(self, spatial_dims: int, channels: int, level: int) -> Stage:
        """One block."""
        return Stage([self._block(spatial_dims, channels, level, 0.0)], [channels])

    def down(self, spatial_dims: int, channels: int, stride: Sequence[int]) -> nn.Module:
        """A strided block of the first level's expansion."""
        return self.down_to_next(spatial_dims, channels, channels, stride, 0)[0]

    def down_to_next(
        self, spatial_dims: int, channels: int, next_channels: int, stride: Sequence[int], level: int
    ) -> tuple[nn.Module, int]:
        """A strided block, which has the next stage's width."""
        expansion = at_level(self.expansion, level, "expansion")
        return MedNeXtDown(spatial_dims, channels, next_channels, self.kernel_size, expansion, stride), next_channels

    def up(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
        """A transposed block of the first level's expansion."""
        return self.up_to_level(spatial_dims, in_channels, out_channels, stride, 0)

    def up_to_level(
        self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int], level: int
    ) -> nn.Module:
        """A transposed block."""
        expansion = at_level(self.expansion, level, "expansion")
        return MedNeXtUp(spatial_dims, in_channels, out_channels, self.kernel_size, expansion, stride)

    def patch_recovery(
        self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """Every position becomes a patch of pixels."""
        return TransposedConv(spatial_dims, in_channels, out_channels, patch_size, overlap=False)

    def _block(self, spatial_dims: int, channels: int, level: int, drop_path: float) -> nn.Module:
        expansion = at_level(self.expansion, level, "expansion")
        return MedNeXtBlock(spatial_dims, channels, self.kernel_size, expansion, drop_path)


class MedNeXt(EncoderDecoder):
    """Plain MedNeXt encoder-decoder."""

    family_type = MedNeXtFamily
    connection = NoConnection()


class MedNeXtU(EncoderDecoder):
    """U-shaped MedNeXt encoder-decoder (Roy et al. 2023, who add a kept feature where this one concatenates it)."""

    family_type = MedNeXtFamily
    connection = SkipConnection()


class MedNeXtD(EncoderDecoder):
    """Densely connected MedNeXt encoder-decoder."""

    family_type = MedNeXtFamily
    connection = DenseConnection()
