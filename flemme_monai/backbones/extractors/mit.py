"""The Mix Transformer, SegFormer's trunk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ChannelLayerNorm, ConditionEmbeddings, Stage
from ...blocks.mix_ffn import MixBlock
from ..backbone import check_image

NUM_HEADS = (1, 2, 5, 8)
REDUCTIONS = {2: (8, 4, 2, 1), 3: (4, 2, 1, 1)}  # per axis: in 3D eight would leave one key of 512


class OverlappingPatches(nn.Module):
    """Patches by a strided convolution whose kernel reaches into their neighbours, normalised.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of a patch.
        kernel_size: odd.
        stride: pixels of a patch along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.proj = Conv["conv", spatial_dims](
            in_channels, channels, kernel_size, stride=stride, padding=kernel_size // 2
        )
        self.norm = ChannelLayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C, *(s / stride))."""
        return self.norm(self.proj(x))


class MixTransformer(nn.Module):
    """Mix Transformer (Xie et al., NeurIPS 2021): [overlapping patches -> blocks -> norm] x 4, at strides 4, 8, 16, 32.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of each stage.
        depths: blocks of each stage.
        num_heads: of each stage.
        reductions: factors by which keys and values are shrunk along each axis, of each stage; None: 8, 4, 2, 1 in 2D
            and 4, 2, 1, 1 in 3D.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        drop_path: probability that a sample skips a branch of the last block, which rises linearly from 0.
        min_latent_positions: positions that the latent needs in training.

    Attributes:
        feature_channels: channels of each stage.

    Raises:
        ValueError: If the stages differ in number.
    """

    # names of the authors' code and smp's, of files of transformers, and of transformers 5 in memory
    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"^segformer\.(encoder\.)?", ""),
        *((rf"^{part}{i + 1}\.", f"{part}.{i}.") for part in ("patch_embed", "block", "norm") for i in range(4)),
        (r"^stages\.(\d)\.patch_embeddings\.", r"downs.\1."),
        (r"^(?:patch_embed|patch_embeddings)\.(\d)\.", r"downs.\1."),
        (r"^downs\.(\d)\.layer_norm\.", r"downs.\1.norm."),
        (r"^(?:stages\.(\d)\.layer_norm|(?:norm|layer_norm)\.(\d))\.", r"norms.\1\2."),
        (r"^block\.(\d)\.(\d+)\.", r"stages.\1.blocks.\2."),
        (r"\.(?:layer_norm_1|layernorm_before)\.", ".norm1."),
        (r"\.(?:layer_norm_2|layernorm_after)\.", ".norm2."),
        (r"\.(?:attention\.self\.query|attention\.q_proj|attn\.q)\.", ".token_mixer.query."),
        (r"\.attn\.kv\.", ".token_mixer.key_value."),
        (r"\.(?:attention\.output\.dense|attention\.o_proj|attn\.proj)\.", ".token_mixer.proj."),
        (
            r"\.(?:attention\.self\.sr|attention\.sequence_reduction\.sequence_reduction|attn\.sr)\.",
            ".token_mixer.reduce.",
        ),
        (
            r"\.(?:attention\.self\.layer_norm|attention\.sequence_reduction\.layer_norm|attn\.norm)\.",
            ".token_mixer.norm.",
        ),
        (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
        (r"\.mlp\.dwconv\.dwconv\.", ".mlp.dwconv."),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = NUM_HEADS,
        reductions: Sequence[int] | None = None,
        act: str | tuple = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.1,
        min_latent_positions: int = 1,
    ) -> None:
        super().__init__()
        reductions = REDUCTIONS[spatial_dims] if reductions is None else reductions
        if {len(channels), len(depths), len(num_heads), len(reductions)} != {4}:
            raise ValueError(
                f"channels, depths, num_heads and reductions have {len(channels)}, {len(depths)}, {len(num_heads)} and "
                f"{len(reductions)} numbers; expected four of each, one per stage."
            )
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, channels[-1]
        self.size_divisor = [32] * spatial_dims
        self.min_latent_positions = min_latent_positions
        self.feature_channels = list(channels)
        self.downs, self.stages, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        before = in_channels
        for i, (width, depth, heads, reduction) in enumerate(zip(channels, depths, num_heads, reductions)):
            self.downs.append(OverlappingPatches(spatial_dims, before, width, *((3, 2) if i else (7, 4))))
            blocks = [
                MixBlock(spatial_dims, width, heads, reduction, act=act, dropout=dropout, drop_path=next(rates))
                for _ in range(depth)
            ]
            self.stages.append(Stage(blocks, [width] * depth, channel_last_view=True))
            self.norms.append(ChannelLayerNorm(width))
            before = width

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *(S / 32)) and the features at strides 4, 8 and 16.

        Args:
            x: the image.
            conditions: embedded conditions, for the blocks.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        features: list[torch.Tensor] = []
        for down, stage, norm in zip(self.downs, self.stages, self.norms):
            x = down(x)
            x = stage(x) if conditions is None else stage(x, conditions)
            x = norm(x)
            features.append(x)
        return x, features[:-1]

    def forward_order(self) -> list[list[nn.Module]]:
        """Each stage with its patches and its norm."""
        return [list(level) for level in zip(self.downs, self.stages, self.norms)]

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Published tensors with keys and values as one.

        Args:
            state: tensors by name.
        """
        found = dict(state)
        for name in state:
            for key, value in ("attention.self.key", "attention.self.value"), ("attention.k_proj", "attention.v_proj"):
                if re.search(rf"\.{re.escape(key)}\.(weight|bias)$", name):
                    parts = found.pop(name), found.pop(name.replace(key, value))
                    found[name.replace(key, "attn.kv")] = torch.cat(parts)
        return found
