"""The pyramid loss of the hierarchical architectures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import DeepSupervisionLoss


def pyramid_loss(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], num_levels: int, interp_mode: str = "nearest-exact"
) -> DeepSupervisionLoss:
    """L(final, y) + the mean over the levels of L(level_i, y resized to level_i).

    Args:
        loss: the loss L of a prediction (B, C, *s) and a target (B, C', *s).
        num_levels: levels beside the final output.
        interp_mode: how the target is resized: ``nearest-exact`` for labels, ``area`` for images.

    Returns:
        a loss of ``[final, level_0, ...]`` or of one tensor, and a target at full size.

    Raises:
        ValueError: when there is no level.
    """
    if num_levels < 1:
        raise ValueError(f"num_levels is {num_levels}; a pyramid has at least one level beside the final output.")
    pyramid = DeepSupervisionLoss(loss, weights=[1.0] + [1.0 / num_levels] * num_levels)
    pyramid.interp_mode = interp_mode
    return pyramid
