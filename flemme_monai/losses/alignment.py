"""The loss of a network that aligns its image: that of its predictions, and a penalty for leaving the identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class AlignmentLoss(nn.Module):
    """L(predictions, y) + weight times the mean over the images of the squared norm of their transforms' parameters.

    Args:
        loss: the loss L, of one prediction or of a list.
        weight: of the penalty.

    Attributes:
        recorded: of the last call, each term: what the loss L has recorded, else its value as ``prediction``, and
            ``alignment``.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, loss: Callable[[object, torch.Tensor], torch.Tensor], weight: float) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"the weight of the alignment's penalty is {weight}; expected 0 or more.")
        self.loss, self.weight = loss, weight
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(self, input: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Loss of ``[final, level_0, ..., parameters]``, of which the parameters are (B, P), and the label map."""
        *predictions, parameters = input
        value = self.loss(predictions if len(predictions) > 1 else predictions[0], target)
        penalty = self.weight * parameters.float().square().sum(1).mean()
        of_predictions = getattr(self.loss, "recorded", None) or {"prediction": value.detach()}
        self.recorded = {**of_predictions, "alignment": penalty.detach()}
        return value + penalty


def aligned_loss(
    loss: Callable[[object, torch.Tensor], torch.Tensor], alignment: nn.Module | None, weight: float
) -> Callable[[object, torch.Tensor], torch.Tensor]:
    """The loss of a training: with the penalty where the network has an ``alignment``, else the loss as it is.

    Args:
        loss: of the predictions.
        alignment: the network's spatial transformer, or None.
        weight: of the penalty.
    """
    return loss if alignment is None else AlignmentLoss(loss, weight)
