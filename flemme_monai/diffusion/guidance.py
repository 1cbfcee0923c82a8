"""Classifier-free guidance (Ho and Salimans 2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch


def absent(context: torch.Tensor) -> torch.Tensor:
    """The context that says there is none, of the same shape: -1 everywhere."""
    if not (context.is_floating_point() or context.dtype.is_signed):
        raise ValueError(f"context is of type {context.dtype}, which has no -1 for an absent context; make it signed.")
    return torch.full_like(context, -1)


def guided(
    network: Callable[..., torch.Tensor], context: torch.Tensor | None, guidance: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A network under a context: ``none + guidance (given - none)`` of its predictions without and with the context.

    Both predictions are one call with a doubled batch; a guidance of 1 is the network itself.

    Args:
        network: from (x, timesteps, context) to a prediction like x.
        context: (B, ...), or None for a network without.
        guidance: weight w; 0 leaves the context out, more than 1 exaggerates it.

    Returns:
        from x (B, C, *S) and timesteps (B,) to a prediction like x, in the type of x.

    Raises:
        ValueError: for guidance without a context.
    """
    if guidance == 1:
        return lambda x, timesteps: network(x, timesteps, context).to(x.dtype)
    if context is None:
        raise ValueError(
            f"guidance is {guidance} on an unconditional model: there is no context to be guided by. "
            "Set guidance to 1, or give a context to a network that was trained with one."
        )
    both = torch.cat([absent(context), context])  # (2B, ...)

    def predict(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        none, given = network(torch.cat([x, x]), torch.cat([timesteps, timesteps]), both).to(x.dtype).chunk(2)
        return none + guidance * (given - none)

    return predict
