"""A stage: blocks one after another at one resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Stage(nn.Module):
    """Blocks in a row at one resolution, with optional activation checkpointing.

    Args:
        blocks: modules from (B, C, *s) to (B, C', *s), or on the channel-last view if ``channel_last_view``.
        channel_last_view: whether the blocks work on (B, *s, C), as sequence blocks do.
    """

    def __init__(self, blocks: Sequence[nn.Module], channel_last_view: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.channel_last_view = channel_last_view
        self.checkpointing = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C', *s)."""
        if self.checkpointing and self.training and not torch.jit.is_scripting():
            return self._checkpointed(x)
        return self._run(x)

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        if self.channel_last_view:
            x = x.movedim(1, -1)  # (B, C, *s) -> (B, *s, C), free in channels_last memory format
        for block in self.blocks:
            x = block(x)
        return x.movedim(-1, 1) if self.channel_last_view else x

    @torch.jit.unused
    def _checkpointed(self, x: torch.Tensor) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self._run, x, use_reentrant=False)


class Shortcut(nn.Sequential):
    """Blocks in a row with a shortcut around all of them. Args: the blocks."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` to the same shape."""
        x = input
        for block in self:
            x = block(x)
        return input + x
