"""Label maps of what networks give, with the largest part of a class alone, or from a file of predictions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from scipy import ndimage

from ..data.class_masks import ClassMasks
from ..data.predictions import MASKS
from ..inferers.slabs import label_dtype
from .case import cut_slab, fitting_labels, fitting_masks
from .load import EnsureChannelAxisd, LoadLabeld, OrientVolumesd


class LabelMapd(MapTransform):
    """The class of the highest score at each voxel, or the masks of all classes; whole numbers, which are these, pass.

    MONAI's ``AsDiscreted`` takes a label map for the scores of one class, and gives labels as float32.

    Args:
        keys: keys of scores (C, *S), of floats, or of label maps (1, *S).
        probabilities_key: key that gets the softmax of the scores, in their memory; None: not kept.
        multi_label: the scores are logits of classes that may overlap: masks are where they are 0 or more, and
            probabilities their sigmoid.
    """

    def __init__(
        self, keys: KeysCollection = "pred", probabilities_key: str | None = None, multi_label: bool = False
    ) -> None:
        super().__init__(keys)
        self.probabilities_key = probabilities_key
        self.multi_label = multi_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with label maps (1, *S) or masks (C, *S), and the probabilities (C, *S).

        Raises:
            ValueError: If there are no scores to make probabilities of.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            given = convert_to_tensor(out[key], track_meta=True)
            scores = given.as_tensor()
            if scores.is_floating_point() and self.multi_label:
                masks = (scores >= 0).to(torch.uint8)
                out[key] = convert_to_dst_type(masks, given, dtype=torch.uint8)[0]
            elif scores.is_floating_point():
                dtype = label_dtype(len(scores))
                labels = torch.empty(1, *scores.shape[1:], dtype=dtype, device=scores.device)
                for plane in range(scores.shape[1]):  # argmax is of int64
                    labels[:, plane] = scores[:, plane].argmax(0)
                out[key] = convert_to_dst_type(labels, given, dtype=dtype)[0]
            if self.probabilities_key is None:
                continue
            if not scores.is_floating_point():
                raise ValueError(f"{key} holds labels; expected scores, to make probabilities of: set argmax to False")
            for plane in range(scores.shape[1]):
                part = scores[:, plane]
                scores[:, plane] = part.sigmoid() if self.multi_label else part.softmax(0)
            out[self.probabilities_key] = given
        return out


class KeepLargestd(MapTransform):
    """Keeps the largest connected part of some classes in a label map; the others of their voxels become background.

    MONAI's ``KeepLargestConnectedComponentd`` does so with scikit-image, which this collection does without, and of
    each class looks at the whole image.

    Args:
        keys: keys of label maps (1, *S).
        labels: the classes: a number, several, or a text such as ``"1,2"``.
        num_classes: number of classes, background included.
        multi_label: there are masks (num_classes, *S) of classes 1, 2, ... in the place of label maps.

    Raises:
        ValueError: If a class is not one of the foreground's.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: int | str | Sequence[int],
        num_classes: int,
        multi_label: bool = False,
    ) -> None:
        super().__init__(keys)
        self.multi_label = multi_label
        self.labels = foreground_labels(labels, num_classes + multi_label)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with cleaned label maps (1, *S), or masks."""
        out = dict(data)
        for key in self.key_iterator(out):
            given = convert_to_tensor(out[key], track_meta=True)
            kept = np.array(given.as_tensor().cpu())
            for label in self.labels:
                labels, value = (kept[label - 1], 1) if self.multi_label else (kept[0], label)
                boxes = ndimage.find_objects(labels)
                box = boxes[value - 1] if value <= len(boxes) else None
                if box is not None:
                    _keep_largest(labels[box], value)
            out[key] = convert_to_dst_type(torch.from_numpy(kept), given, dtype=given.dtype)[0]
        return out


def _keep_largest(labels: np.ndarray, label: int) -> None:
    """Make background, in place, of all but the largest part of a class; diagonal neighbours belong together."""
    parts, count = ndimage.label(labels == label, ndimage.generate_binary_structure(labels.ndim, labels.ndim))
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        labels[(parts > 0) & (parts != sizes.argmax())] = 0


def foreground_labels(labels: int | str | Sequence[int], num_classes: int) -> list[int]:
    """The classes that a setting names.

    Args:
        labels: a number, several, or a text such as ``"1,2"``.
        num_classes: number of classes, background included.

    Returns:
        The classes, sorted.

    Raises:
        ValueError: If one is not from 1 to ``num_classes`` - 1.
    """
    try:
        words = labels.strip("[]() ").split(",") if isinstance(labels, str) else labels
        found = sorted({int(word) for word in ([words] if isinstance(words, int) else words)})
    except ValueError:
        found = []
    if not found or isinstance(labels, bool) or not all(0 < label < num_classes for label in found):
        raise ValueError(
            f"keep_largest is {labels!r}; expected numbers of classes from 1 to {num_classes - 1}: name them as 1,2"
        )
    return found


class LoadPredictiond(MapTransform):
    """Puts the label map of a file of predictions in the place of what a network gives, on the image's grid.

    The file is that of ``flemme_monai.data.with_predictions``, and is checked as a case's label is; so are masks.

    Args:
        keys: key that gets the label map.
        num_classes: number of classes, background included.
        image_key: key of the image, a MetaTensor (C, *S).
    """

    def __init__(self, keys: KeysCollection, num_classes: int, image_key: str = "image") -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.num_classes = num_classes
        self.image_key = image_key
        self.load = LoadLabeld("prediction")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the label map (1, *S) of ``prediction``, or the masks (C, *S) of ``prediction_masks``.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is unreadable or does not fit the image; the message names it.
        """
        out = dict(data)
        image, slab = out[self.image_key], out.get("prediction_slab")
        add_axis = EnsureChannelAxisd("prediction", image.ndim - 1)
        prediction = ClassMasks.of_text(out[MASKS]) if MASKS in out else out["prediction"]
        for key in self.keys:
            loaded: dict[Hashable, Any] = {"prediction": prediction, "image": image}
            loaded = add_axis(self.load(loaded))
            given = cast("MetaTensor", OrientVolumesd("prediction")(loaded)["prediction"])
            if slab is not None:
                given = cut_slab(given, [int(plane) for plane in slab], str(prediction))
            if isinstance(prediction, ClassMasks):
                labels = fitting_masks(given, self.num_classes, image)
            else:
                labels = fitting_labels(given, self.num_classes, None, image)
            out[key] = convert_to_dst_type(labels.as_tensor(), image, dtype=labels.dtype)[0]
        return out
