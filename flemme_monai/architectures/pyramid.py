"""The pyramid of the hierarchical architectures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import PositionEmbedding

FUSIONS = ("cat", "add")


class Pyramid(nn.Module):
    """Outputs at the latent and at every decoder stage, and their fusion with the backbone's own output.

    Each feature gets one residual block of the backbone's family, told what the decoder's stages are told, and a 1x1
    projection: a level, at the feature's resolution. All levels and the output are resized to full size, given a
    position embedding, fused and projected.

    Args:
        backbone: the backbone whose features come in.
        fusion: ``cat`` or ``add``.

    Attributes:
        num_levels: the latent and the decoder's stages.

    Raises:
        ValueError: for another fusion.
    """

    def __init__(self, backbone: nn.Module, fusion: str = "cat") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}; expected one of {', '.join(FUSIONS)}.")
        dims, out_channels = backbone.spatial_dims, backbone.out_channels
        widths = [backbone.latent_channels, *backbone.feature_channels]
        self.num_levels = len(widths)
        self.cat = fusion == "cat"
        self.mode = "bilinear" if dims == 2 else "trilinear"
        # level i of the pyramid lies on level depth - i of the backbone
        self.blocks = nn.ModuleList(
            [backbone.family.residual_stage(dims, c, len(widths) - 1 - i) for i, c in enumerate(widths)]
        )
        for block in self.blocks:
            backbone.conditions.inject(block, "decoder")
        conv = Conv["conv", dims]
        self.heads = nn.ModuleList([conv(c, out_channels, 1) for c in widths])
        self.positions = nn.ModuleList([PositionEmbedding(dims, out_channels) for _ in range(len(widths) + 1)])
        self.fuse = conv(out_channels * (len(widths) + 1) if self.cat else out_channels, out_channels, 1)

    def forward(
        self,
        output: torch.Tensor,
        features: list[torch.Tensor],
        latent: torch.Tensor,
        time: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What the backbone returned (:class:`flemme_monai.backbones.BackboneOutput`), to the final output
        (B, C, *S) and the levels (B, C, *s_i), coarse to fine."""
        inputs = [latent] + features
        levels: list[torch.Tensor] = []
        for i, (block, head) in enumerate(zip(self.blocks, self.heads)):
            levels.append(head(block(inputs[i], time, context)))
        maps: list[torch.Tensor] = []
        for i, position in enumerate(self.positions):
            level = output if i == len(levels) else levels[i]
            if level.shape[2:] != output.shape[2:]:
                level = F.interpolate(level, size=output.shape[2:], mode=self.mode, align_corners=False)
            maps.append(position(level))
        if self.cat:
            return self.fuse(torch.cat(maps, dim=1)), levels
        total = maps[0]
        for level in maps[1:]:
            total = total + level
        return self.fuse(total), levels
