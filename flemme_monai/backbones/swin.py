"""The shifted-window family and its three encoders: Swin, SwinU, SwinD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..blocks import SwinBlock
from .connections import DenseConnection, NoConnection, SkipConnection
from .encoder_decoder import EncoderDecoder
from .family import at_level
from .sequence import SequenceFamily, heads_of_32


@dataclass(frozen=True)
class SwinFamily(SequenceFamily):
    """Settings of shifted-window transformer stages (Liu et al. 2021); the rest as in :class:`SequenceFamily`.

    Args:
        block: ``swin`` (every second block shifted), ``double_swin`` or ``res_swin`` (a plain and a shifted one).
        window_size: tokens of a window along each axis, one number or one per axis; None takes 8 in 2D and 4 in 3D, 64
            tokens per window both times.
        num_heads: heads; one value, or one per level; None takes heads of 32 channels, as the paper does.
        qkv_bias: whether the map to queries, keys and values has a bias.
        attention_dropout: probability of dropping an attention weight; None takes ``dropout``.
    """

    block: str = "swin"
    window_size: int | Sequence[int] | None = None
    num_heads: int | Sequence[int] | None = None
    qkv_bias: bool = True
    attention_dropout: float | None = None

    block_names: ClassVar[tuple[str, ...]] = ("swin",)
    positive_int_settings: ClassVar[tuple[str, ...]] = ("num_heads",)

    def make_block(self, spatial_dims: int, channels: int, level: int, index: int, drop_path: float) -> nn.Module:
        """A Swin block, shifted where its index is odd."""
        size = (8 if spatial_dims == 2 else 4) if self.window_size is None else self.window_size
        window = [size] * spatial_dims if isinstance(size, int) else list(size)
        if len(window) != spatial_dims or min(window) < 2:
            raise ValueError(
                f"window_size is {self.window_size}; expected a number above 1, or {spatial_dims}, one per axis."
            )
        return SwinBlock(
            spatial_dims,
            channels,
            num_heads=heads_of_32(channels) if self.num_heads is None else at_level(self.num_heads, level, "num_heads"),
            window_size=window,
            shift=index % 2 == 1,
            mlp_ratio=self.mlp_ratio,
            act=self.act,
            dropout=self.dropout,
            drop_path=drop_path,
            qkv_bias=self.qkv_bias,
            attention_dropout=self.attention_dropout,
            norm=self.token_norm(spatial_dims),
        )


class Swin(EncoderDecoder):
    """Plain shifted-window transformer encoder-decoder."""

    family_type = SwinFamily
    connection = NoConnection()


class SwinU(EncoderDecoder):
    """U-shaped shifted-window transformer (Swin-Unet, Cao et al. 2021)."""

    family_type = SwinFamily
    connection = SkipConnection()


class SwinD(EncoderDecoder):
    """Densely connected shifted-window transformer."""

    family_type = SwinFamily
    connection = DenseConnection()
