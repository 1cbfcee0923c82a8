"""The mean and the spread of several samples."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class SplitSpreadd(MapTransform):
    """Divides what ``flemme_monai.diffusion.AveragedInferer`` gives: the mean stays, ``spread`` is the deviation.

    Args:
        keys: key of mean and deviation, (2 C, *S).
    """

    def __init__(self, keys: KeysCollection = "pred") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the mean (C, *S), in 0..1, and ``spread`` (C, *S)."""
        out = dict(data)
        for key in self.key_iterator(out):
            mean, out["spread"] = out[key].chunk(2)
            out[key] = mean.clamp(0, 1)
        return out
