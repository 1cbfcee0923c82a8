"""The first of several outputs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class FirstOutputd(MapTransform):
    """The first output of a network that gives several, as ``[final, level_0, ...]`` in training.

    Args:
        keys: keys of the outputs.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with one tensor under each key."""
        out = dict(data)
        for key in self.key_iterator(out):
            if isinstance(out[key], (list, tuple)):
                out[key] = out[key][0]
        return out
