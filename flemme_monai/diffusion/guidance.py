"""Classifier-free guidance (Ho and Salimans 2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch


def null_context(context: torch.Tensor) -> torch.Tensor:
    """The null context, of the same shape: -1 everywhere, of numbers per sample (B, n) that are not whole NaN."""
    if context.ndim == 2 and context.is_floating_point():
        return torch.full_like(context, torch.nan)
    if not (context.is_floating_point() or context.dtype.is_signed):
        raise ValueError(
            f"context is of type {context.dtype}, which has no -1 for the null context; expected a signed type."
        )
    return torch.full_like(context, -1)


def classifier_free_guidance(
    network: Callable[..., torch.Tensor], context: torch.Tensor | None, guidance_scale: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A network under a context, ``uncond + w (cond - uncond)`` of its predictions without and with the context.

    Both predictions are one call with a doubled batch; a scale of 1 is the network itself.

    Args:
        network: from (x, timesteps, context) to a prediction like x.
        context: (B, ...); None: not used.
        guidance_scale: w; 0 leaves the context out, more than 1 exaggerates it.

    Returns:
        from x (B, C, *S) and timesteps (B,) to a prediction like x, in the type of x.

    Raises:
        ValueError: If the scale is not 1 and there is no context.
    """
    if guidance_scale == 1:
        return lambda x, timesteps: network(x, timesteps, context).to(x.dtype)
    if context is None:
        raise ValueError(
            f"guidance_scale is {guidance_scale}; expected 1 on an unconditional model: leave it out, or give a "
            "context to a network that was trained with one."
        )
    both = torch.cat([null_context(context), context])  # (2B, ...)

    def predict(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        uncond, cond = network(torch.cat([x, x]), torch.cat([timesteps, timesteps]), both).to(x.dtype).chunk(2)
        return uncond + guidance_scale * (cond - uncond)

    return predict
