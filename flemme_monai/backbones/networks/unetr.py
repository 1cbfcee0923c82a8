"""MONAI's UNETR in two halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from monai.networks.blocks import UnetOutBlock, UnetrBasicBlock, UnetrPrUpBlock
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import nn

from ...blocks import (
    ChannelLayerNorm,
    ConditionEmbeddings,
    PositionEmbedding,
    Stage,
    StridedConv,
    TransposedConv,
    ViTBlock,
)
from ..backbone import Backbone, check_image
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..stages import StageDecoder
from .unet import SKIPS_PASS_THE_LATENT

PATCH = 16


class UNETREncoder(nn.Module):
    """A Vision Transformer that keeps three features of its resolution, and the image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        hidden_size: width of the transformer.
        mlp_dim: width of its MLPs between their layers.
        num_heads: heads of its attention.
        depths: its blocks before each of the three features, and after the last.
        position_grid: points of the position embedding along each axis.
        dropout: probability of dropping an activation.
        min_latent_positions: positions that the latent needs.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        hidden_size: int,
        mlp_dim: int,
        num_heads: int,
        depths: Sequence[int],
        position_grid: int,
        dropout: float,
        min_latent_positions: int,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, hidden_size
        self.size_divisor, self.min_latent_positions = [PATCH] * spatial_dims, min_latent_positions
        self.patch_embedding = StridedConv(spatial_dims, in_channels, hidden_size, self.size_divisor, overlap=False)
        self.position_embedding = PositionEmbedding(spatial_dims, hidden_size, position_grid)
        self.dropout = nn.Dropout(dropout)
        ratio = mlp_dim / hidden_size

        def transformer_stage(depth: int) -> Stage:
            blocks = [
                ViTBlock(spatial_dims, hidden_size, num_heads, mlp_ratio=ratio, dropout=dropout) for _ in range(depth)
            ]
            return Stage(blocks, [hidden_size] * depth, channel_last_view=True)

        self.transformer = nn.ModuleList([transformer_stage(depth) for depth in depths])
        self.norm = ChannelLayerNorm(hidden_size)

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *(S / 16)); the image and features of that size.

        Args:
            x: the image.
            conditions: embedded conditions, for the stages.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        tokens = self.dropout(self.position_embedding(self.patch_embedding(x)))
        skips = [x]
        for i, stage in enumerate(self.transformer):
            tokens = stage(tokens) if conditions is None else stage(tokens, conditions)
            if i < 3:
                skips.append(tokens)
        return self.norm(tokens), skips

    def forward_order(self) -> list[list[nn.Module]]:
        """The embedding; the stages of the transformer, the last with its norm."""
        stages = [[stage] for stage in self.transformer]
        return [[self.patch_embedding, self.position_embedding], *stages[:-1], [self.transformer[-1], self.norm]]

    def token_embedding(self) -> nn.Module:
        """What adds the positions."""
        return self.position_embedding


class CatRaised(nn.Module):
    """The channels of both, those of the encoder last, which convolutions bring to the level's resolution first.

    Args:
        block: from a feature of the encoder (B, K, *s_i) to (B, C, *s).
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) and ``skip`` (B, K, *s_i) to (B, 2 C, *s)."""
        return torch.cat([x, self.block(skip)], 1)


class UNETR(Backbone):
    """MONAI's UNETR (Hatamizadeh et al., UNETR: Transformers for 3D Medical Image Segmentation, WACV 2022).

    Its position table is interpolated, so that any size divisible by 16 works; its attention runs as one operation and
    has the biases of Dosovitskiy et al. 2021, which MONAI leaves out by default.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        feature_size: width at full resolution, which doubles from level to level.
        hidden_size: width of the transformer.
        mlp_dim: width of its MLPs between their layers.
        num_heads: heads of its attention; must divide ``hidden_size``.
        depths: blocks of the transformer before each of the three features that are kept, and after the last.
        position_grid: points of the position table along each axis; a sixteenth of the crops' size needs no
            interpolation.
        norm: ``instance`` (without scale and shift, as published) or ``batch``.
        dropout: probability of dropping an activation of the transformer.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the norm is another, or ``depths`` are not four.
    """

    norms: ClassVar[tuple[str, ...]] = ("instance", "batch")

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        feature_size: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_heads: int = 12,
        depths: Sequence[int] = (4, 3, 3, 2),
        position_grid: int = 6,
        norm: str = "instance",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if norm not in self.norms:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(self.norms)}.")
        if len(depths) != 4:
            raise ValueError(f"depths is {list(depths)}; expected four numbers of blocks.")
        family = ConvFamily(norm=norm, act="leakyrelu")
        encoder = UNETREncoder(
            spatial_dims,
            in_channels,
            hidden_size,
            mlp_dim,
            num_heads,
            depths,
            position_grid,
            dropout,
            family.min_latent_positions,
        )
        skips = [feature_size * 2**level for level in (3, 2, 1, 0)]  # coarse to fine
        stride = [2] * spatial_dims
        fuses = []
        for doublings, width in enumerate(skips[:-1]):  # of the resolution, after a first
            fuses.append(
                CatRaised(
                    UnetrPrUpBlock(
                        spatial_dims, hidden_size, width, doublings, 3, 1, 2, norm, conv_block=True, res_block=True
                    )
                )
            )
        fuses.append(CatRaised(UnetrBasicBlock(spatial_dims, in_channels, feature_size, 3, 1, norm, res_block=True)))
        ups = []
        for before, after in zip([hidden_size, *skips], skips):
            ups.append(TransposedConv(spatial_dims, before, after, stride, overlap=False, bias=False))
        decoder = StageDecoder(
            ups,
            fuses,
            [Stage([UnetResBlock(spatial_dims, 2 * c, c, 3, 1, norm)], [c]) for c in skips],
            skips,
            UnetOutBlock(spatial_dims, feature_size, out_channels),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )

    def input_layers(self) -> list[nn.Module]:
        """The encoder, and the block of the decoder that sees the image."""
        return [*super().input_layers(), cast(StageDecoder, self.decoder).fuses[-1]]
