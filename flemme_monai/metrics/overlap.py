"""Overlap of segmentations with a convention for classes that a case does not have, and what is found of these."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric, compute_dice, compute_iou
from monai.metrics.utils import do_metric_reduction
from monai.networks import one_hot

SCORES: dict[str, Callable[..., torch.Tensor]] = {"dice": compute_dice, "iou": compute_iou}
EMPTY_CLASS = ("ignore", "one", "zero_one")
UNITS = ("voxels", "mm3")


class CaseMean(CumulativeIterationMetric):
    """A metric of each case and class, whose aggregate is the mean over a case's classes and then over the cases.

    NaN, where the metric is not defined, is left out of both means. The aggregate of MONAI 1.6.1 is then 0, a value
    like any other; this one's is NaN.
    """

    def aggregate(self) -> torch.Tensor:
        """The mean, a tensor of one number."""
        values = self.get_buffer()  # (N, C)
        mean, count = do_metric_reduction(values, "mean")
        return torch.where(count > 0, mean, torch.nan)


class OverlapMetric(CaseMean):
    """Dice or IoU of each case and class, as MONAI computes them, with a choice for what a case does not have.

    Args:
        score: ``dice`` or ``iou``.
        empty_class: what a class counts that the label does not have. ``zero_one``: 1 where it is not predicted either,
            0 where it is. ``one``: 1 where it is not predicted either, NaN where it is. ``ignore``: NaN.
        include_background: whether class 0 counts.
        num_classes: of label maps (B, 1, *S), background included; None for one-hot segmentations (B, C, *S).

    Raises:
        ValueError: If the score or the choice is unknown.
    """

    def __init__(
        self,
        score: str = "dice",
        empty_class: str = "zero_one",
        include_background: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"score is {score!r}; expected one of {', '.join(SCORES)}")
        if empty_class not in EMPTY_CLASS:
            raise ValueError(f"empty_class is {empty_class!r}; expected one of {', '.join(EMPTY_CLASS)}")
        self.score, self.empty_class = SCORES[score], empty_class
        self.include_background, self.num_classes = include_background, num_classes

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """(B, C, *S) or (B, 1, *S) each to (B, C)."""
        if self.num_classes is not None:
            y_pred, y = (one_hot(labels, self.num_classes) for labels in (y_pred, y))
        values = self.score(y_pred, y, self.include_background, ignore_empty=self.empty_class == "ignore")
        if self.empty_class != "one":
            return values
        # 0 is a class that was missed, which stays 0 in ``present``, or one that is absent, which is NaN there
        present = self.score(y_pred, y, self.include_background, ignore_empty=True)
        return torch.where(values == 0, present, values)


class AbsentClassVolume(CaseMean):
    """The predicted volume of classes that a case does not have; NaN for those that it has.

    Args:
        unit: ``voxels``, or ``mm3`` by the affine of the label; of a picture, which has no volume, that is NaN.
        include_background: whether class 0 counts, as it does where it is not the background.

    Raises:
        ValueError: If the unit is unknown.
    """

    def __init__(self, unit: str = "voxels", include_background: bool = False) -> None:
        super().__init__()
        if unit not in UNITS:
            raise ValueError(f"unit is {unit!r}; expected one of {', '.join(UNITS)}")
        self.unit = unit
        self.first = 0 if include_background else 1

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """One-hot segmentations (B, C, *S) to (B, C - 1), or (B, C) with class 0."""
        predicted, labelled = (classes[:, self.first :].flatten(2).sum(2) for classes in (y_pred, y))  # (B, C - 1)
        volume = predicted if self.unit == "voxels" else predicted * _voxel_volume(y).to(predicted)
        return torch.as_tensor(torch.where(labelled == 0, volume, torch.nan))


def _voxel_volume(labels: torch.Tensor) -> torch.Tensor:
    """mm³ of a voxel of labels (B, C, *S), as (B, 1) or (1, 1); NaN where they have no affine or no three axes."""
    if not isinstance(labels, MetaTensor) or labels.ndim != 5:
        return torch.full((1, 1), torch.nan)
    return torch.linalg.det(labels.affine[..., :3, :3]).abs().view(-1, 1)
