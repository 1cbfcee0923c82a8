"""Which voxels are content, and one of a class that a case has, drawn evenly among its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms.utils import map_classes_to_indices

POSTFIX = "_cls_indices"  # of the key under which MONAI's ClassesToIndicesd keeps positions


@dataclass(frozen=True)
class Content:
    """What of an image (C, *S) is content: what is not 0, or above a value, as MONAI's ``CropForegroundd`` asks.

    Args:
        above: the value; None: what is not 0.
    """

    above: float | None = None

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """True where there is content, (C, *S)."""
        return image != 0 if self.above is None else image > self.above


def random_foreground(
    label: torch.Tensor, positions: Sequence[torch.Tensor] | None, random: np.random.RandomState
) -> np.ndarray | None:
    """A random voxel of a random class.

    Args:
        label: (1, *S), whole numbers, or masks (C, *S) of classes that may overlap.
        positions: flat indices of each class' voxels, of a label map the background first; None: they are looked for.
        random: draws twice.

    Returns:
        Index along each axis; None where there is no foreground.
    """
    classes: Sequence[Any] = (
        map_classes_to_indices(label, max(2, int(label.max()) + 1)) if positions is None else positions
    )
    present = [found for found in classes[len(label) == 1 :] if len(found)]
    if not present:
        return None
    found = present[random.randint(len(present))]
    return np.array(np.unravel_index(int(found[random.randint(len(found))]), label.shape[1:]))
