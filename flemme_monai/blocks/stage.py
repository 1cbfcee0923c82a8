"""A stage: blocks one after another at one resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .context import NoInjection


class Stage(nn.Module):
    """Blocks in a row at one resolution, with optional activation checkpointing.

    Args:
        blocks: modules from (B, C, *s) to (B, C', *s), or on the channel-last view if ``channel_last_view``.
        widths: channels after each of them; 0 for modules that are told no condition.
        channel_last_view: whether the blocks work on (B, *s, C), as sequence blocks do.
    """

    def __init__(self, blocks: Sequence[nn.Module], widths: Sequence[int], channel_last_view: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.widths = list(widths)
        self.injections = nn.ModuleList([NoInjection() for _ in blocks])
        self.channel_last_view = channel_last_view
        self.checkpointing = False

    def inject(self, make: Callable[[int], nn.Module]) -> None:
        """Tell blocks a condition, each after it is done: ``make`` gives the module for a number of channels."""
        self.injections = nn.ModuleList([make(width) if width else NoInjection() for width in self.widths])

    def forward(
        self, x: torch.Tensor, time: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C', *s), under embedded conditions (B, E, *t)."""
        if self.checkpointing and self.training and not torch.jit.is_scripting():
            return self._checkpointed(x, time, context)
        return self._run(x, time, context)

    def _run(self, x: torch.Tensor, time: torch.Tensor | None, context: torch.Tensor | None) -> torch.Tensor:
        if self.channel_last_view:
            x = x.movedim(1, -1)  # (B, C, *s) -> (B, *s, C), free in channels_last memory format
        for block, injection in zip(self.blocks, self.injections):
            x = block(x)
            if self.channel_last_view:
                x = injection(x.movedim(-1, 1), time, context).movedim(1, -1)
            else:
                x = injection(x, time, context)
        return x.movedim(-1, 1) if self.channel_last_view else x

    @torch.jit.unused
    def _checkpointed(self, x: torch.Tensor, time: torch.Tensor | None, context: torch.Tensor | None) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self._run, x, time, context, use_reentrant=False)


class Shortcut(nn.Sequential):
    """Blocks in a row with a shortcut around all of them. Args: the blocks."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` to the same shape."""
        x = input
        for block in self:
            x = block(x)
        return input + x
