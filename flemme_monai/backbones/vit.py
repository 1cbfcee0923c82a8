"""The Vision Transformer family and its three encoders: ViT, ViTU, ViTD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..blocks import ViTBlock
from .connections import DenseConnection, NoConnection, SkipConnection
from .encoder_decoder import EncoderDecoder
from .family import at_level
from .sequence import SequenceFamily, heads_of_32


@dataclass(frozen=True)
class ViTFamily(SequenceFamily):
    """Settings of stages of global attention (Dosovitskiy et al. 2021); the rest as in :class:`SequenceFamily`.

    Args:
        block: ``vit``, ``double_vit`` or ``res_vit``.
        num_heads: heads; one value, or one per level; None takes heads of 32 channels.
        spatial_reduction: factor by which keys and values are shrunk along each axis; one value, or one per level.
        qkv_bias: whether the maps to queries, keys and values have a bias.
        attention_dropout: probability of dropping an attention weight; None takes ``dropout``.
    """

    block: str = "vit"
    num_heads: int | Sequence[int] | None = None
    spatial_reduction: int | Sequence[int] = 1
    qkv_bias: bool = True
    attention_dropout: float | None = None

    block_names: ClassVar[tuple[str, ...]] = ("vit",)
    positive_int_settings: ClassVar[tuple[str, ...]] = ("num_heads", "spatial_reduction")
    use_position_embedding: ClassVar[bool] = True

    @property
    def sees_a_set(self) -> bool:
        """Where keys and values are not shrunk, which would mix neighbours."""
        reduction = self.spatial_reduction
        return max([reduction] if isinstance(reduction, int) else reduction) == 1

    def make_block(self, spatial_dims: int, channels: int, level: int, index: int, drop_path: float) -> nn.Module:
        """A transformer block."""
        return ViTBlock(
            spatial_dims,
            channels,
            num_heads=heads_of_32(channels) if self.num_heads is None else at_level(self.num_heads, level, "num_heads"),
            spatial_reduction=at_level(self.spatial_reduction, level, "spatial_reduction"),
            mlp_ratio=self.mlp_ratio,
            act=self.act,
            dropout=self.dropout,
            drop_path=drop_path,
            qkv_bias=self.qkv_bias,
            attention_dropout=self.attention_dropout,
            norm=self.token_norm(spatial_dims),
        )


class ViT(EncoderDecoder):
    """Plain transformer encoder-decoder."""

    family_type = ViTFamily
    connection = NoConnection()


class ViTU(EncoderDecoder):
    """U-shaped transformer."""

    family_type = ViTFamily
    connection = SkipConnection()


class ViTD(EncoderDecoder):
    """Densely connected transformer."""

    family_type = ViTFamily
    connection = DenseConnection()
