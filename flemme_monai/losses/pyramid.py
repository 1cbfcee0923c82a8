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
        num_levels: levels beside the final output; 0 for networks that have none.
        interp_mode: how the target is resized: ``nearest-exact`` for labels, ``area`` for images.

    Returns:
        a loss of ``[final, level_0, ...]`` or of one tensor, and a target at full size.

    Raises:
        ValueError: for a negative number.
    """
    if num_levels < 0:
        raise ValueError(f"num_levels is {num_levels}; expected the network's num_levels, which is 0 or more.")
    pyramid = DeepSupervisionLoss(loss, weights=[1.0] + [1.0 / max(num_levels, 1)] * num_levels)
    pyramid.interp_mode = interp_mode
    return pyramid
