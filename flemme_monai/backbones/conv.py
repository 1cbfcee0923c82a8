"""The convolutional family and its three encoders: CNN, UNet, DNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import (
    ConvBlock,
    DoubleConvBlock,
    FourierAttention,
    InterpolateDown,
    InterpolateUp,
    PoolDown,
    ResConvBlock,
    SpatialSelfAttention,
    Stage,
    StridedConv,
    TransposedConv,
    channel_attention,
)
from .connections import DenseConnection, NoConnection, SkipConnection
from .encoder_decoder import EncoderDecoder
from .family import BlockFamily, at_level

BLOCKS = {"conv": ConvBlock, "double_conv": DoubleConvBlock, "res_conv": ResConvBlock}
FOURIER = "fft"
DOWN = ("conv", "max", "avg", "interpolate")
UP = ("conv", "interpolate")


@dataclass(frozen=True)
class ConvFamily(BlockFamily):
    """Settings of convolutional stages.

    Args:
        block: ``conv``, ``double_conv`` or ``res_conv`` (Flemme's ResNet).
        norm: ``batch``, ``group``, ``instance``, ``layer``, ``rms`` or None.
        act: any activation MONAI names.
        kernel_size: odd kernel size of the blocks.
        depthwise: depthwise-separable convolutions in the blocks.
        dropout: probability that a whole channel is dropped after a block.
        num_groups: groups of a group norm.
        channel_attention: None, ``ca`` (CBAM), ``eca`` or ``eca-ns`` (ECA-Net) after a stage; one value, or one per
            level.
        self_attention: self-attention over positions after a stage (Flemme's AttenUNet), so many times, or ``fft``,
            once among frequencies; one value, or one per level.
        num_heads: heads of the self-attention; one value, or one per level.
        decoder_self_attention: the same of the decoder's stages; None: that of the encoder's.
        final_self_attention: of the blocks after the last stage, one value; None: that of the finest stage.
        down_mode: ``conv``, ``max``, ``avg`` or ``interpolate``.
        up_mode: ``conv`` (transposed) or ``interpolate``.

    Raises:
        ValueError: If a name is not one of these.
    """

    block: str = "conv"
    norm: str | None = "instance"
    act: str | tuple = "leakyrelu"
    kernel_size: int = 3
    depthwise: bool = False
    dropout: float = 0.0
    num_groups: int = 8
    channel_attention: str | Sequence[str | None] | None = None
    self_attention: bool | int | str | Sequence[bool | int | str] = False
    num_heads: int | Sequence[int] = 4
    down_mode: str = "conv"
    up_mode: str = "conv"
    decoder_self_attention: bool | int | str | Sequence[bool | int | str] | None = None
    final_self_attention: bool | int | str | None = None

    has_drop_path: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("block", self.block, tuple(BLOCKS)),
            ("down_mode", self.down_mode, DOWN),
            ("up_mode", self.up_mode, UP),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")

    def of_decoder(self) -> ConvFamily:
        """With the attention of the decoder's stages."""
        given = self.decoder_self_attention
        return self if given is None else replace(self, self_attention=given)

    def of_final(self) -> ConvFamily:
        """With the attention of the blocks after the last stage."""
        given = self.final_self_attention
        return self.of_decoder() if given is None else replace(self, self_attention=given)

    def patch_embedding(
        self, spatial_dims: int, in_channels: int, channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """A strided convolution whose patches overlap; a plain 3x3 convolution for patches of one pixel."""
        if max(patch_size) == 1:
            return ConvBlock(spatial_dims, in_channels, channels, self.norm, self.act, num_groups=self.num_groups)
        return StridedConv(spatial_dims, in_channels, channels, patch_size)

    @property
    def min_latent_positions(self) -> int:
        """An instance norm needs two."""
        return 2 if self.norm == "instance" else 1

    @property
    def norm_removes_channel_shift(self) -> bool:
        """An instance norm does."""
        return self.norm == "instance"

    def stage(
        self, spatial_dims: int, in_channels: int, out_channels: int, level: int, drop_path: Sequence[float]
    ) -> Stage:
        """``len(drop_path)`` blocks, then the attention of the level.

        Raises:
            ValueError: If ``drop_path`` asks for skipped branches, which convolutional blocks do not have.
        """
        if any(drop_path):
            raise ValueError("drop_path: convolutional blocks drop no paths; set it to 0, or use dropout.")
        blocks: list[nn.Module] = []
        for i in range(len(drop_path)):
            blocks.append(self._block(self.block, spatial_dims, out_channels if i else in_channels, out_channels))
        attention = at_level(self.channel_attention, level, "channel_attention")
        if attention is not None:
            blocks.append(channel_attention(attention, spatial_dims, out_channels))
        blocks += self._self_attention(spatial_dims, out_channels, level)
        injection_channels = [out_channels] * len(drop_path) + [0] * (len(blocks) - len(drop_path))
        return Stage(blocks, injection_channels)

    def pyramid_block(self, spatial_dims: int, channels: int, level: int) -> Stage:
        """One residual convolution block."""
        return Stage([self._block("res_conv", spatial_dims, channels, channels)], [channels])

    def down(self, spatial_dims: int, channels: int, stride: Sequence[int]) -> nn.Module:
        """By ``down_mode``."""
        if self.down_mode == "conv":
            return StridedConv(spatial_dims, channels, channels, stride)
        if self.down_mode == "interpolate":
            return InterpolateDown(spatial_dims, channels, channels, stride)
        return PoolDown(spatial_dims, channels, channels, stride, self.down_mode)

    def up(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
        """By ``up_mode``."""
        up = TransposedConv if self.up_mode == "conv" else InterpolateUp
        return up(spatial_dims, in_channels, out_channels, stride)

    def patch_recovery(
        self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """By ``up_mode``, to the image's size; interpolation follows a 1x1 convolution."""
        if self.up_mode == "conv":
            return self.up(spatial_dims, in_channels, out_channels, patch_size)
        project = Conv["conv", spatial_dims](in_channels, out_channels, 1)
        up = self.up(spatial_dims, out_channels, out_channels, patch_size)
        return nn.Sequential(OrderedDict(proj=project, up=up))

    def _self_attention(self, spatial_dims: int, channels: int, level: int) -> list[nn.Module]:
        """The self-attention of a level, as often as it says."""
        times = at_level(self.self_attention, level, "self_attention")
        if times != FOURIER and (not isinstance(times, int) or times < 0):
            raise ValueError(
                f"self_attention is {times!r}; expected True, False, a number of times or {FOURIER}, or one per level."
            )
        if not times:
            return []
        heads = at_level(self.num_heads, level, "num_heads")
        if times == FOURIER:
            return [FourierAttention(spatial_dims, channels, heads)]
        return [SpatialSelfAttention(spatial_dims, channels, heads) for _ in range(times)]

    def _block(self, name: str, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        return BLOCKS[name](
            spatial_dims,
            in_channels,
            out_channels,
            norm=self.norm,
            act=self.act,
            kernel_size=self.kernel_size,
            depthwise=self.depthwise,
            dropout=self.dropout,
            num_groups=self.num_groups,
        )


class CNN(EncoderDecoder):
    """Plain convolutional encoder-decoder: a stage sees its input alone."""

    family_type = ConvFamily
    connection = NoConnection()


class UNet(EncoderDecoder):
    """U-shaped convolutional encoder-decoder (Ronneberger et al. 2015)."""

    family_type = ConvFamily
    connection = SkipConnection()


class DNet(EncoderDecoder):
    """Densely connected convolutional encoder-decoder: a stage sees all earlier features."""

    family_type = ConvFamily
    connection = DenseConnection()
