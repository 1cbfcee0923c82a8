"""MONAI's Dice loss in the memory of a few channels where no gradient is wanted."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss


class OverlapLoss(DiceLoss):
    """MONAI's DiceLoss over a batch, which without a gradient takes the classes one after the other.

    The validation's loss is of whole volumes: MONAI makes probabilities and labels of all classes at a time, which for
    512x512x500 voxels and three classes are 4.2 GB beside the logits; here 2.5 GB are, however many classes there are.
    The arguments are the same.
    """

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits (B, C, *S) and a label map (B, 1, *S), or masks (B, C, *S) of 0 and 1."""
        if input.requires_grad or input.shape[1] == 1 or not self._is_plain():
            return super().forward(input, target)
        highest = input.amax(1)  # (B, *S)
        total = torch.zeros_like(highest)
        if self.softmax:
            for logits in input.unbind(1):
                total += (logits - highest).exp_()
        losses = []
        for label in range(0 if self.include_background else 1, input.shape[1]):
            logits = input[:, label]
            predicted = (logits - highest).exp_().div_(total) if self.softmax else logits.sigmoid()
            given = target[:, 0] == label if self.to_onehot_y else target[:, label].bool()
            either = predicted.sum() + given.count_nonzero()
            both = predicted.masked_fill_(given.logical_not(), 0).sum()
            either = 2 * (either - both) if self.jaccard else either
            losses.append(1 - (2 * both + self.smooth_nr) / (either + self.smooth_dr))
        return torch.stack(losses).mean()

    def _is_plain(self) -> bool:
        """Whether the loss is what :meth:`forward` computes by itself."""
        others = (self.class_weight, self.other_act, getattr(self, "ignore_index", None))
        return (
            self.batch
            and self.softmax != self.sigmoid
            and self.reduction == "mean"
            and not self.squared_pred
            and all(value is None for value in others)
        )
