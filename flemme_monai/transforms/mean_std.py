"""The mean and the standard deviation of several samples."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class SplitMeanStdd(MapTransform):
    """Splits the output of ``flemme_monai.diffusion.AveragedInferer`` into mean and standard deviation.

    Args:
        keys: key of mean and deviation, (2 C, *S), which keeps the mean.
        std_key: key that gets the deviation.
    """

    def __init__(self, keys: KeysCollection = "pred", std_key: str = "std") -> None:
        super().__init__(keys)
        self.std_key = std_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the mean (C, *S), clipped to 0..1, and the standard deviation (C, *S)."""
        out = dict(data)
        for key in self.key_iterator(out):
            mean, out[self.std_key] = out[key].chunk(2)
            out[key] = mean.clamp(0, 1)
        return out
