"""A voxel of a class that a case has, drawn evenly among its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms.utils import map_classes_to_indices

POSTFIX = "_cls_indices"  # of the key under which MONAI's ClassesToIndicesd keeps positions


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
