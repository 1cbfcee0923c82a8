"""Noise that an image comes with."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class AddNoised(MapTransform):
    """Adds an item's own noise to its image, the same every time; an item without any stays as it is.

    MONAI's ``RandGaussianNoised`` draws its noise. Phantoms have theirs apart, so that it is in the input of a
    reconstruction and not in its target.

    Args:
        keys: images to add it to.
        noise_key: the noise, of the images' shape; it is taken out of the item.
    """

    def __init__(self, keys: KeysCollection = "image", noise_key: str = "noise") -> None:
        super().__init__(keys)
        self.noise_key = noise_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the noise in its images."""
        item = dict(data)
        noise = item.pop(self.noise_key, None)
        if noise is not None:
            for key in self.key_iterator(item):
                item[key] = item[key] + noise.to(item[key])
        return item
