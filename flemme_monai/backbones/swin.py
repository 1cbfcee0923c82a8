"""The shifted-window family and its three encoders: Swin, SwinU, SwinD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import (
    ChannelLayerNorm,
    InterpolateUp,
    Linear,
    PatchExpand,
    ResSwinBlock,
    Stage,
    StridedConv,
    SwinBlock,
    TransposedConv,
)
from .encoder_decoder import EncoderDecoder
from .family import BlockFamily, at_level

BLOCKS = ("swin", "double_swin", "res_swin")
UP = ("conv", "interpolate")


@dataclass(frozen=True)
class SwinFamily(BlockFamily):
    """Settings of shifted-window transformer stages (Liu et al. 2021).

    Args:
        block: ``swin`` (every second block shifted), ``double_swin`` (a plain and a shifted one) or ``res_swin`` (both
            around one more shortcut).
        window_size: tokens of a window along each axis, one number or one an axis; None takes 8 in 2D and 4 in 3D, 64
            tokens a window both times.
        num_heads: heads; one value, or one a level; None takes heads of 32 channels, as the paper does.
        mlp_ratio: hidden width of the MLP over the block's width.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        up_mode: ``interpolate`` (linear, after a projection) or ``conv`` (patch expansion).

    Raises:
        ValueError: for a name that is not one of these.
    """

    block: str = "swin"
    window_size: int | Sequence[int] | None = None
    num_heads: int | Sequence[int] | None = None
    mlp_ratio: float = 4.0
    act: str | tuple = "gelu"
    dropout: float = 0.0
    up_mode: str = "interpolate"

    channels_last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value, allowed in (("block", self.block, BLOCKS), ("up_mode", self.up_mode, UP)):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")

    def patch_embedding(
        self, spatial_dims: int, in_channels: int, channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """A linear map of each patch."""
        return StridedConv(spatial_dims, in_channels, channels, patch_size, overlap=False)

    def stage(
        self, spatial_dims: int, in_channels: int, out_channels: int, level: int, drop_path: Sequence[float]
    ) -> Stage:
        """``len(drop_path)`` blocks; a linear map widens the feature after the first of them, or narrows it before."""
        blocks: list[nn.Module] = [Linear(in_channels, out_channels)] if in_channels > out_channels else []
        widths = [min(in_channels, out_channels)] + [out_channels] * (len(drop_path) - 1)
        for i, (width, rate) in enumerate(zip(widths, drop_path)):
            if self.block == "swin":
                blocks.append(self._block(spatial_dims, width, level, i % 2 == 1, rate))
            else:
                pair = [self._block(spatial_dims, width, level, shift, rate) for shift in (False, True)]
                blocks += [ResSwinBlock(*pair)] if self.block == "res_swin" else pair
            if width < out_channels:
                blocks.append(Linear(width, out_channels))
        return Stage(blocks, channel_last_view=True)

    def residual_stage(self, spatial_dims: int, channels: int, level: int) -> Stage:
        """One Swin block."""
        return Stage([self._block(spatial_dims, channels, level, False, 0.0)], channel_last_view=True)

    def down(self, spatial_dims: int, channels: int, stride: Sequence[int]) -> nn.Module:
        """Patch merging: neighbouring tokens to one by a linear map, then a layer norm."""
        merge = StridedConv(spatial_dims, channels, channels, stride, overlap=False, bias=False)
        return nn.Sequential(merge, ChannelLayerNorm(channels))

    def up(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
        """By ``up_mode``, then a layer norm."""
        if self.up_mode == "interpolate":
            up: nn.Module = InterpolateUp(spatial_dims, in_channels, out_channels, stride)
        else:
            up = TransposedConv(spatial_dims, in_channels, out_channels, stride, overlap=False)
        return nn.Sequential(up, ChannelLayerNorm(out_channels))

    def patch_recovery(
        self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """Every token becomes a patch of pixels, then a 1x1 convolution; a 1x1 convolution for patches of one pixel."""
        if max(patch_size) == 1:
            return Conv["conv", spatial_dims](in_channels, out_channels, 1)
        return PatchExpand(spatial_dims, in_channels, out_channels, patch_size)

    def _block(self, spatial_dims: int, channels: int, level: int, shift: bool, drop_path: float) -> SwinBlock:
        size = (8 if spatial_dims == 2 else 4) if self.window_size is None else self.window_size
        window = [size] * spatial_dims if isinstance(size, int) else list(size)
        if len(window) != spatial_dims or min(window) < 2:
            raise ValueError(
                f"window_size is {self.window_size}; expected a number above 1, or {spatial_dims} of them, one an axis."
            )
        return SwinBlock(
            spatial_dims,
            channels,
            num_heads=at_level(self.num_heads, level, "num_heads") or heads_of_32(channels),
            window_size=window,
            shift=shift,
            mlp_ratio=self.mlp_ratio,
            act=self.act,
            dropout=self.dropout,
            drop_path=drop_path,
        )


def heads_of_32(channels: int) -> int:
    """The number of heads of 32 channels, or of the next wider ones that divide the channels."""
    return next(heads for heads in range(max(1, channels // 32), 0, -1) if channels % heads == 0)


class Swin(EncoderDecoder):
    """Plain shifted-window transformer encoder-decoder."""

    family_type = SwinFamily
    connection = "none"


class SwinU(EncoderDecoder):
    """U-shaped shifted-window transformer (Swin-Unet, Cao et al. 2021)."""

    family_type = SwinFamily
    connection = "skip"


class SwinD(EncoderDecoder):
    """Densely connected shifted-window transformer."""

    family_type = SwinFamily
    connection = "dense"
