"""The half that makes features: from an image to its latent."""

from __future__ import annotations

import torch
from torch import nn

from ..blocks import PositionEmbedding
from .conditioning import Conditions
from .levels import Levels


class Encoder(nn.Module):
    """image -> patch embedding -> [blocks -> keep -> down] x stages -> middle blocks -> latent.

    Args:
        levels: resolutions, widths and blocks.
        in_channels: channels of the image.
        conditions: what the stages are told.
        position_embedding: whether an absolute position embedding is added after the patch embedding.
        channels_last: memory format of the features.

    Attributes:
        size_divisor: total stride along each axis; image sizes must be multiples of it.
        latent_channels: channels of the latent.
        kept: channels and total stride of every feature made, the latent last.
    """

    def __init__(
        self, levels: Levels, in_channels: int, conditions: Conditions, position_embedding: bool, channels_last: bool
    ) -> None:
        super().__init__()
        dims, family, depth = levels.spatial_dims, levels.family, len(levels.channels)
        self.spatial_dims, self.in_channels, self.channels_last = dims, in_channels, channels_last
        self.size_divisor = levels.totals[-1]
        self.min_positions = family.min_positions
        rates = levels.encoder_rates()
        width = levels.patch_channels
        self.patch_embedding = family.patch_embedding(dims, in_channels, width, levels.patch)
        self.position = PositionEmbedding(dims, width) if position_embedding else nn.Identity()
        self.entrance = conditions.entrance("encoder", width)
        self.fuse, self.stages, self.down = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.kept: list[tuple[int, list[int]]] = []
        for level, out in enumerate(levels.channels):
            fuse, fused = levels.connect(width, self.kept, level)
            self.fuse.append(fuse)
            self.stages.append(family.stage(dims, fused, out, level, rates[level]))
            self.down.append(family.down(dims, out, levels.steps[level]))
            self.kept.append((out, levels.totals[level]))
            width = out
        self.middle_fuse, width = levels.connect(width, self.kept, depth)
        self.middle = nn.ModuleList()
        for out, rate in zip(levels.middle_channels, rates[depth:]):
            self.middle.append(family.stage(dims, width, out, depth, rate))
            width = out
        self.kept.append((width, levels.totals[-1]))
        self.latent_channels = width
        for stage in [*self.stages, *self.middle]:
            conditions.inject(stage, "encoder")

    def forward(
        self, x: torch.Tensor, time: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *s) and the stages' features, fine to coarse.

        Args:
            x: image.
            time, context: embedded conditions, as :class:`Conditions` returns them.

        Raises:
            ValueError: for a shape that does not fit.
        """
        if not torch.jit.is_scripting():
            self._check_input(x)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
        x = self.position(self.patch_embedding(x))
        if self.entrance is not None and context is not None:
            x = self.entrance(x, context)
        kept: list[torch.Tensor] = []
        for fuse, stage, down in zip(self.fuse, self.stages, self.down):
            x = stage(fuse(x, kept), time, context)
            kept.append(x)
            x = down(x)
        x = self.middle_fuse(x, kept)
        for stage in self.middle:
            x = stage(x, time, context)
        return x, kept

    @torch.jit.unused
    def _check_input(self, x: torch.Tensor) -> None:
        if torch.compiler.is_exporting():  # sizes are symbols, whose values a check would fix
            return
        if x.ndim != 2 + self.spatial_dims or x.shape[1] != self.in_channels:
            axes = ", ".join("HWD"[: self.spatial_dims])
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this {self.spatial_dims}D network expects "
                f"(batch, {self.in_channels}, {axes}): set spatial_dims and in_channels to what the images have."
            )
        size = [int(n) for n in x.shape[2:]]
        if any(n % d for n, d in zip(size, self.size_divisor)):
            below = tuple(max(n // d, 1) * d for n, d in zip(size, self.size_divisor))
            above = tuple(-(-n // d) * d for n, d in zip(size, self.size_divisor))
            raise ValueError(
                f"image size {tuple(size)} is not divisible by this network's total stride {tuple(self.size_divisor)}; "
                f"sizes that fit are {below} or {above}: crop or pad to one of them."
            )
        if self.min_positions > 1 and size == self.size_divisor:
            raise ValueError(
                f"image size {tuple(size)} is the network's total stride: its latent has one position, which "
                f"instance norm cannot normalise; use {tuple(2 * d for d in self.size_divisor)} or more"
            )
