"""The final output of a hierarchical network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class FinalOutputd(MapTransform):
    """Keep the final output where a hierarchical network in training gave ``[final, level_0, ...]``.

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
