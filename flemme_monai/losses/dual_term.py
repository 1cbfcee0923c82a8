"""A loss of two terms: the overlap of regions, and the overlap of their contours."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from monai.networks import one_hot
from monai.networks.layers.factories import Pool
from torch import nn


class DualTermLoss(nn.Module):
    """A region term and a shape term, after the Dual-Term loss (Huang, Zhou, Tao, ISBI 2021).

    That paper is not public and its formula could not be checked: what is taken from it is that one term measures
    regions and another the shape of their boundaries. Here both are a Dice loss of the foreground over the batch,

        L = (1 - Dice(p, y)) + contour_weight (1 - Dice(c(p), c(y))),    c(p) = p - min of p over 3 x 3 (x 3) positions,

    where p are probabilities and c of a label map is the inner border of each class, one position wide.

    Args:
        contour_weight: weight of the second term.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, contour_weight: float = 1.0) -> None:
        super().__init__()
        if contour_weight < 0:
            raise ValueError(f"contour_weight is {contour_weight}; expected 0 or more.")
        self.contour_weight = contour_weight
        self.dice = DiceLoss(include_background=False, batch=True)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits (B, C, *S) and classes (B, 1, *S), one number."""
        probabilities = input.softmax(1)
        classes = one_hot(target, input.shape[1]).to(probabilities)  # (B, C, *S)
        region = self.dice(probabilities, classes)
        return region + self.contour_weight * self.dice(soft_contour(probabilities), soft_contour(classes))


def soft_contour(x: torch.Tensor) -> torch.Tensor:
    """What an erosion by one position takes away from maps (B, C, *S) of values between 0 and 1."""
    pool = Pool["max", x.ndim - 2](3, stride=1, padding=1)
    return x + pool(-x)  # the smallest of the neighbours is the largest of the negatives, negated
