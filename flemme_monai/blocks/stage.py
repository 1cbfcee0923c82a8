"""A stage: blocks one after another at one resolution, and the injection of conditions after each."""
# no postponed annotations here: TorchScript does not read them in a named tuple

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import nn


class ConditionEmbeddings(NamedTuple):
    """The embedded conditions of a network.

    Attributes:
        time_emb: embedding of the time steps (B, E, 1, ...), or None.
        context_emb: embedding of the context (B, E, *s), s is 1 for what has no extent; or None.
        decoder_context_emb: the same of the decoder, where it has an embedding of its own; or None.
    """

    time_emb: torch.Tensor | None
    context_emb: torch.Tensor | None
    decoder_context_emb: torch.Tensor | None = None


class Stage(nn.Module):
    """Blocks in a row at one resolution, with optional activation checkpointing.

    Conditions are injected into stages alone: :meth:`inject` adds the modules for it. Without them a stage has no
    parameters and modules but its blocks'.

    Args:
        blocks: modules from (B, C, *s) to (B, C', *s), or on the channel-last view if ``channel_last_view``.
        injection_channels: channels after each of them; 0 for modules after which no condition is injected.
        channel_last_view: whether the blocks work on (B, *s, C), as sequence blocks do.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], injection_channels: Sequence[int], channel_last_view: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.injection_channels = list(injection_channels)
        self.injections: nn.ModuleList | None = None
        self.channel_last_view = channel_last_view
        self.checkpointing = False

    def inject(self, make: Callable[[int], nn.Module]) -> None:
        """Inject conditions after the blocks.

        Args:
            make: the module for a number of channels, from a feature (B, C, *s) and :class:`ConditionEmbeddings` to a
                feature of the same shape.
        """
        self.injections = nn.ModuleList([make(c) if c else NoInjection() for c in self.injection_channels])

    def forward(self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C', *s), under conditions where the stage was given injections.

        Raises:
            ValueError: If it has injections and receives no conditions.
        """
        if self.checkpointing and self.training and not torch.jit.is_scripting():
            return self._checkpointed(x, conditions)
        return self._run(x, conditions)

    def _run(self, x: torch.Tensor, conditions: ConditionEmbeddings | None) -> torch.Tensor:
        if self.channel_last_view:
            x = x.movedim(1, -1)  # (B, C, *s) -> (B, *s, C), free in channels_last memory format
        if self.injections is None:
            for block in self.blocks:
                x = block(x)
        elif conditions is None:
            raise ValueError(
                "a stage with injections received no conditions; expected stage(x, conditions): hand on the conditions "
                "that the half is given, and put no stage among another's blocks."
            )
        else:
            for block, injection in zip(self.blocks, self.injections):
                x = block(x)
                if self.channel_last_view:
                    x = injection(x.movedim(-1, 1), conditions).movedim(1, -1)
                else:
                    x = injection(x, conditions)
        return x.movedim(-1, 1) if self.channel_last_view else x

    @torch.jit.unused
    def _checkpointed(self, x: torch.Tensor, conditions: ConditionEmbeddings | None) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        if torch.compiler.is_compiling():  # a compiled graph keeps what the forward pass wrote
            return checkpoint(self._run, x, conditions, use_reentrant=False)
        return checkpoint(
            self._run, x, conditions, use_reentrant=False, context_fn=lambda: (nullcontext(), self._once_counted())
        )

    @torch.jit.unused
    @contextmanager
    def _once_counted(self) -> Iterator[None]:
        """While activations are computed again: batch norms keep the running statistics that they have."""
        norms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        counts = [(norm, norm.num_batches_tracked) for norm in norms]  # None: keeps no statistics
        kept = [(norm, norm.momentum, count, count.clone()) for norm, count in counts if count is not None]
        for norm, _, _, _ in kept:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum, count, before in kept:
                norm.momentum = momentum
                count.copy_(before)


class NoInjection(nn.Module):
    """After a block of a conditional stage that has no width of its own, such as a linear map between two blocks."""

    def forward(self, x: torch.Tensor, conditions: ConditionEmbeddings) -> torch.Tensor:
        """``x``."""
        return x


class ResidualSequential(nn.Sequential):
    """Blocks in a row with a shortcut around all of them. Args: the blocks."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``input`` to the same shape."""
        x = input
        for block in self:
            x = block(x)
        return input + x
