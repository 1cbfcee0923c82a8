"""Minutes that a contour of an organ saves whoever draws it, or costs, by its Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from monai.metrics import compute_dice

from .overlap import CaseMean

ABSENT = ("ignore", "zero", "saved")


class Minutes(NamedTuple):
    """What a contour of an organ is worth.

    Attributes:
        threshold: the Dice from which it is used.
        saved: minutes that it then saves.
        lost: minutes that it costs below that, to be found bad and drawn again.
    """

    threshold: float
    saved: float
    lost: float


ORGANS = {
    "large_bowel": Minutes(0.80, 5.0, 2.0),
    "small_bowel": Minutes(0.70, 3.0, 3.0),
    "stomach": Minutes(0.85, 2.0, 4.0),
}


def minutes_of(
    class_names: Sequence[str] | None, table: Mapping[str, Sequence[float]] | None = None
) -> dict[str, Minutes]:
    """The minutes of those of some classes that have them.

    Args:
        class_names: the classes; None: they have no names.
        table: threshold, minutes saved and minutes lost by the name of a class; None takes ``ORGANS``.

    Raises:
        ValueError: If the table names an unknown class, or an entry is no three numbers that make sense.
    """
    if table is None:
        return {name: ORGANS[name] for name in class_names or () if name in ORGANS}
    found = {}
    for name, numbers in table.items():
        if name not in (class_names or ()):
            raise ValueError(
                f"time_saved names the class {name!r}; expected one of {', '.join(class_names or ()) or 'none'}: set "
                "class_names, or rename it"
            )
        if not isinstance(numbers, Sequence) or isinstance(numbers, str) or len(numbers) != 3:
            raise ValueError(
                f"time_saved of {name} is {numbers!r}; expected [threshold, minutes saved, minutes lost]: give these"
            )
        minutes = Minutes(*(float(number) for number in numbers))
        if not 0 <= minutes.threshold <= 1 or min(minutes.saved, minutes.lost) < 0:
            raise ValueError(
                f"time_saved of {name} is {list(numbers)}; expected a Dice from 0 to 1 and minutes from 0: mend it"
            )
        found[name] = minutes
    return found


class TimeSaved(CaseMean):
    """Minutes saved per case and organ: those saved where its Dice is at least the threshold, else less those lost.

    An organ that is absent and predicted has a Dice of 0: whoever draws removes it. One that is absent and not
    predicted is what ``absent`` says, by default no contour that could save anything.

    Args:
        class_names: the classes, in the order of the channels; those without minutes are NaN, and count for nothing.
        table: as of :func:`minutes_of`.
        absent: of an organ that is absent and not predicted: ``ignore`` leaves it out (NaN), ``zero`` counts 0 minutes,
            ``saved`` the minutes saved.
        include_background: whether channel 0 counts, as it does where it is not the background.
        total: give the sum over a case's organs, (B, 1), in the place of each.

    Raises:
        ValueError: If ``absent`` is unknown, the table does not fit, or no class has minutes.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        table: Mapping[str, Sequence[float]] | None = None,
        absent: str = "ignore",
        include_background: bool = False,
        total: bool = False,
    ) -> None:
        super().__init__()
        if absent not in ABSENT:
            raise ValueError(f"absent is {absent!r}; expected one of {', '.join(ABSENT)}: give one of these")
        minutes = minutes_of(class_names, table)
        if not minutes:
            raise ValueError(
                f"no class of {', '.join(class_names)} has minutes; expected some: name them in time_saved"
            )
        names = list(class_names)[0 if include_background else 1 :]
        none = Minutes(*[torch.nan] * 3)
        self.minutes = torch.tensor([minutes.get(name, none) for name in names])  # (C, 3)
        self.absent, self.include_background, self.total = absent, include_background, total

    def _compute_tensor(  # type: ignore[override]  # labels are required here
        self, y_pred: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """One-hot segmentations or masks (B, C, *S) each to (B, C), or (B, C - 1) without the background."""
        threshold, saved, lost = self.minutes.to(y_pred.device).unbind(1)
        dice = compute_dice(y_pred, y, self.include_background, ignore_empty=False)  # 1 where both are empty
        channels = [classes if self.include_background else classes[:, 1:] for classes in (y_pred, y)]
        empty = ~(channels[0] + channels[1]).flatten(2).any(2)
        dice = dice.as_subclass(torch.Tensor)
        if dice.shape[1] != len(threshold):
            raise ValueError(
                f"there are {dice.shape[1]} classes and {len(threshold)} names; expected as many: mend class_names"
            )
        minutes = torch.where(dice >= threshold, saved, -lost)
        minutes = torch.where(threshold.isnan(), torch.nan, minutes)
        if self.absent != "saved":
            nothing = torch.nan if self.absent == "ignore" else 0.0
            minutes = torch.where(empty.as_subclass(torch.Tensor), minutes * 0 + nothing, minutes)
        return minutes.nansum(1, keepdim=True) if self.total else minutes
