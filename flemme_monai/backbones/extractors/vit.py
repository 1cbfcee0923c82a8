"""The trunk of a Vision Transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from ...blocks import ConditionEmbeddings, PositionEmbedding, Stage, ViTBlock, linear_resize
from ..backbone import check_image
from .jax_names import vit_from_jax

EPS = 1e-6  # of every layer norm in published trunks


class PatchEmbedding(nn.Module):
    """Each patch by one convolution, under timm's name.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of a token.
        patch_size: pixels of a patch along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.proj = conv(in_channels, channels, patch_size, stride=patch_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, in_channels, *S) to (B, C, *(S / patch_size))."""
        return self.proj(x)


class ViTTrunk(nn.Module):
    """The encoder of a Vision Transformer (Dosovitskiy et al., ICLR 2021), without a class token.

    Its latent is what the last block gives, normalised; its features are what chosen blocks give. The table of
    positions is learned on a grid and interpolated to the number of patches.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of a token; 768 in the base model, 1024 in the large one.
        depth: blocks; 12 and 24.
        num_heads: 12 and 16.
        patch_size: pixels of a patch along each axis.
        mlp_ratio: hidden width of a block's MLP over ``channels``.
        grid_size: points of the table of positions along each axis.
        taps: blocks, from 0, whose features are returned, in ascending order.
        act: any activation MONAI names.
        dropout: probability of dropping an embedded patch, an attention weight or an activation.
        drop_path: probability that a sample skips a branch of the last block, which rises linearly from 0 (Huang et al.
            2016).
        min_latent_positions: positions that the latent needs in training.

    Raises:
        ValueError: If a tap is no block.
    """

    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"^blocks\.(\d+)\.", r"stages.\1.blocks.0."),
        (r"\.attn\.", ".token_mixer."),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        patch_size: int = 16,
        mlp_ratio: float = 4.0,
        grid_size: int = 14,
        taps: Sequence[int] = (),
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        min_latent_positions: int = 1,
    ) -> None:
        super().__init__()
        if list(taps) != sorted(set(taps) & set(range(depth))):
            raise ValueError(f"taps is {list(taps)}; expected blocks from 0 to {depth - 1} in ascending order.")
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, channels
        self.size_divisor = [patch_size] * spatial_dims
        self.is_tapped = [i in taps for i in range(depth)]
        self.min_latent_positions = min_latent_positions
        self.patch_embed = PatchEmbedding(spatial_dims, in_channels, channels, patch_size)
        self.pos_embed = PositionEmbedding(spatial_dims, channels, grid_size)
        self.pos_drop = nn.Dropout(dropout)
        self.stages = nn.ModuleList()
        for i in range(depth):
            rate = drop_path * i / max(depth - 1, 1)
            norm = partial(nn.LayerNorm, eps=EPS)
            block = ViTBlock(spatial_dims, channels, num_heads, 1, mlp_ratio, act, dropout, rate, norm=norm)
            self.stages.append(Stage([block], [channels], channel_last_view=True))
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent and the features of ``taps``, all (B, C, *(S / patch_size)).

        Args:
            x: the image.
            conditions: embedded conditions, for the blocks.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        x = self.pos_drop(self.pos_embed(self.patch_embed(x)))
        features: list[torch.Tensor] = []
        for i, stage in enumerate(self.stages):
            x = stage(x) if conditions is None else stage(x, conditions)
            if self.is_tapped[i]:
                features.append(x)
        return self.norm(x.movedim(1, -1)).movedim(-1, 1), features

    def forward_order(self) -> list[list[nn.Module]]:
        """Patches and positions; each block; the norm."""
        return [[self.patch_embed, self.pos_embed], *([stage] for stage in self.stages), [self.norm]]

    def token_embedding(self) -> nn.Module:
        """What adds the positions."""
        return self.pos_embed

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Published tensors of timm's or JAX's names in the forms that they have here.

        Args:
            state: tensors by name.
        """
        return tokens_converted(vit_from_jax(state), self.spatial_dims, list(self.pos_embed.grid.shape[2:]))


def tokens_converted(
    state: Mapping[str, torch.Tensor], spatial_dims: int, grid_size: list[int]
) -> dict[str, torch.Tensor]:
    """timm's tensors of a Vision Transformer: queries apart from keys and values, positions on a grid.

    Args:
        state: tensors by name.
        spatial_dims: 2 or 3.
        grid_size: of the table of positions.
    """
    found: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if re.search(r"\.attn\.qkv\.(weight|bias)$", key):
            channels = tensor.shape[0] // 3
            found[key.replace("qkv", "query")] = tensor[:channels]
            found[key.replace("qkv", "key_value")] = tensor[channels:]
        elif key == "pos_embed":
            found |= _grid(tensor, spatial_dims, grid_size)
        else:
            found[key] = tensor
    return found


def _grid(table: torch.Tensor, spatial_dims: int, size: list[int]) -> dict[str, torch.Tensor]:
    """A table of positions (1, L, C), of which the first may be a class token's, as a grid (1, C, *size)."""
    for tokens in (table, table[:, 1:]):
        side = round(tokens.shape[1] ** (1 / spatial_dims))
        if side**spatial_dims == tokens.shape[1]:
            grid = tokens.mT.reshape([1, table.shape[2]] + [side] * spatial_dims)
            return {"pos_embed.grid": grid if size == [side] * spatial_dims else linear_resize(grid, size)}
    return {"pos_embed": table}
