"""The half that makes an image: from a latent to the output."""

from __future__ import annotations

import torch
from torch import nn

from .conditioning import Conditions
from .connections import SkipConnection
from .levels import Levels


class Decoder(nn.Module):
    """latent -> [up -> fuse -> blocks] x stages -> final blocks -> patch recovery -> output.

    Args:
        levels: resolutions, widths and blocks.
        kept: channels and total stride of the encoder's features, the latent last.
        out_channels: channels of the output.
        conditions: what the stages are told.

    Attributes:
        feature_channels: channels of the stages' features, coarse to fine.
    """

    def __init__(
        self, levels: Levels, kept: list[tuple[int, list[int]]], out_channels: int, conditions: Conditions
    ) -> None:
        super().__init__()
        dims, family, depth = levels.spatial_dims, levels.family, len(levels.channels)
        rates = levels.decoder_rates()
        kept = list(kept)
        width = kept[-1][0]
        self.entrance = conditions.entrance("decoder", width)
        self.up, self.fuse, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            out = levels.channels[level]
            self.up.append(family.up(dims, width, out, levels.steps[level]))
            if levels.connection == "skip":
                fuse, fused = SkipConnection(level), 2 * out
            else:
                fuse, fused = levels.connect(out, kept, level)
            self.fuse.append(fuse)
            self.stages.append(family.stage(dims, fused, out, level, rates[depth - 1 - level]))
            kept.append((out, levels.totals[level]))
            width = out
        self.feature_channels = list(levels.channels[::-1])
        self.final = nn.ModuleList()
        for out, rate in zip(levels.final_channels, rates[depth:]):
            self.final.append(family.stage(dims, width, out, 0, rate))
            width = out
        self.patch_recovery = family.patch_recovery(dims, width, out_channels, levels.patch)
        for stage in [*self.stages, *self.final]:
            conditions.inject(stage, "decoder")

    def forward(
        self,
        latent: torch.Tensor,
        kept: list[torch.Tensor],
        time: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A latent (B, C, *s) to the output (B, out_channels, *S) and the stages' features, coarse to fine.

        Args:
            latent: what the encoder made.
            kept: the encoder's features, fine to coarse; plain decoders look at none of them.
            time, context: embedded conditions, as :class:`Conditions` returns them.
        """
        x = latent
        if self.entrance is not None and context is not None:
            x = self.entrance(x, context)
        earlier = kept + [latent]
        features: list[torch.Tensor] = []
        for up, fuse, stage in zip(self.up, self.fuse, self.stages):
            x = stage(fuse(up(x), earlier), time, context)
            earlier.append(x)
            features.append(x)
        for stage in self.final:
            x = stage(x, time, context)
        return self.patch_recovery(x), features
