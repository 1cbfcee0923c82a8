"""Random changes of the colours of RGB images."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable


class RandHueSaturationd(Randomizable, MapTransform):
    """Turns colours about the grey axis and moves them from it or to it; grey stays as it is.

    Both are linear in red, green and blue, so images of any value range are taken, where ``torchvision``'s
    ``ColorJitter`` takes those from 0 to 1.

    Args:
        keys: images (3, *S).
        hue_prob: probability of a turn.
        hue_range: largest angle, in radians.
        saturation_prob: probability of a change of the distance from grey.
        min_saturation: smallest factor of it.
        max_saturation: largest factor.

    Raises:
        ValueError: If ``min_saturation`` is negative or above ``max_saturation``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        hue_prob: float = 0.0,
        hue_range: float = 0.6,
        saturation_prob: float = 0.0,
        min_saturation: float = 0.5,
        max_saturation: float = 1.5,
    ) -> None:
        super().__init__(keys)
        if not 0 <= min_saturation <= max_saturation:
            raise ValueError(
                f"min_saturation is {min_saturation} and max_saturation {max_saturation}; expected "
                "0 <= min_saturation <= max_saturation"
            )
        self.hue_prob = hue_prob
        self.hue_range = hue_range
        self.saturation_prob = saturation_prob
        self.min_saturation = min_saturation
        self.max_saturation = max_saturation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Changes the colours of one item's images, of all alike.

        Raises:
            ValueError: If an image has another number of channels than three.
        """
        item = dict(data)
        turned, moved = self.R.random() < self.hue_prob, self.R.random() < self.saturation_prob
        angle = self.R.uniform(-self.hue_range, self.hue_range) if turned else 0.0
        factor = self.R.uniform(self.min_saturation, self.max_saturation) if moved else 1.0
        for key in self.key_iterator(item):
            channels = len(item[key])
            if channels != 3:
                raise ValueError(
                    f"{key} has {channels} channel{'s' * (channels > 1)}; expected 3 (red, green, blue): set "
                    "augmentation#hue and augmentation#saturation to 0"
                )
            if turned or moved:
                matrix = colour_matrix(angle, factor).to(item[key])
                item[key] = torch.einsum("ij,j...->i...", matrix, item[key])
        return item


def colour_matrix(angle: float, factor: float) -> torch.Tensor:
    """The matrix (3, 3) that turns red, green and blue about the grey axis and scales their distance from it.

    Args:
        angle: in radians; 2 pi / 3 makes green of red.
        factor: of the distance; 0 makes all grey.
    """
    grey = torch.full((3, 3), 1 / 3)
    axis = 1 / math.sqrt(3)
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    # Rodrigues' rotation about (1, 1, 1)
    return grey + factor * (math.cos(angle) * (torch.eye(3) - grey) + math.sin(angle) * cross)
