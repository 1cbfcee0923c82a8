"""The mean and the standard deviation of several samples."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor

from ..inferers.slabs import label_dtype


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


class SampledLabelMapd(MapTransform):
    """The label map of several sampled ones, by ``flemme_monai.diffusion.AveragedLabelInferer``, and its uncertainty.

    Args:
        keys: key of the probabilities' mean and deviation, (2 C, *S), which gets the label map.
        probabilities_key: key that gets the mean (C, *S).
        uncertainty_key: key that gets the uncertainty (1, *S): the largest deviation of a class; of two classes that
            exclude each other it is that of either.
        multi_label: classes may overlap: each has a mask, where it is as probable as not.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        probabilities_key: str = "probabilities",
        uncertainty_key: str = "uncertainty",
        multi_label: bool = False,
    ) -> None:
        super().__init__(keys)
        self.probabilities_key, self.uncertainty_key = probabilities_key, uncertainty_key
        self.multi_label = multi_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the label map (1, *S), or masks (C, *S), its probabilities and its uncertainty."""
        out = dict(data)
        for key in self.key_iterator(out):
            given = convert_to_tensor(out[key], track_meta=True)
            mean, deviation = given.chunk(2)
            plain = convert_to_tensor(mean, track_meta=False)
            labels = plain >= 0.5 if self.multi_label else plain.argmax(0, keepdim=True)
            dtype = label_dtype(len(mean))
            out[key] = convert_to_dst_type(labels, given, dtype=dtype)[0]
            out[self.probabilities_key] = mean
            out[self.uncertainty_key] = deviation.amax(0, keepdim=True)
        return out
