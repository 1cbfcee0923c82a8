"""Loads the image and the label map of a case, checked, channel first and in RAS orientation."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from flemme_monai.data.masks import is_grey, to_label_map
from flemme_monai.data.reading import check_finite, displacement, oriented, read_array, read_image

_logger = logging.getLogger(__name__)


class LoadCased(MapTransform):
    """Reads ``image`` and, with ``num_classes``, ``label`` of an item made by ``flemme_monai.data.datalist``.

    Args:
        in_channels: number of image channels expected. RGB with equal channels counts as one channel, and a picture's
            alpha channel without transparency is left out, where that gives ``in_channels``.
        num_classes: number of classes of the label map, background included; None reads no label.
        spatial_dims: 2 takes pictures and volumes (to be cut into slices), 3 takes volumes only.
        need_label: whether a label that does not fit is an error; else it is left out, which is logged.

    Raises:
        ValueError: When ``in_channels``, ``num_classes`` or ``spatial_dims`` is out of range.
    """

    def __init__(
        self, in_channels: int, num_classes: int | None = None, spatial_dims: int = 2, need_label: bool = True
    ) -> None:
        super().__init__(keys=("image", "label"), allow_missing_keys=True)
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}; at least 1 is expected")
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; at least 2 (the background and one class) is expected")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}; 2 or 3 is expected")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.spatial_dims = spatial_dims
        self.need_label = need_label
        self._told: set[str] = set()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Loads one item.

        Args:
            data: ``image`` (a path, one path a channel, or a MetaTensor), and optionally ``label`` (a path or a
                MetaTensor), ``slab`` ([first, last) along the last RAS axis) and ``colors`` (of the label's classes).

        Returns:
            The item with ``image`` float32 (in_channels, *S) and, with ``num_classes``, ``label`` (1, *S); the other
            entries stay, ``slab`` and ``colors`` are used up.

        Raises:
            FileNotFoundError: When a file is missing.
            ValueError: When a file is unreadable or does not fit; the message names it.
        """
        item = dict(data)
        slab, colors = item.pop("slab", None), item.pop("colors", None)
        label = item.pop("label", None)
        image = item["image"]
        if isinstance(image, torch.Tensor):
            name = _name(image)
            image = image.float()
            check_finite(image, name)
        else:
            image = read_image(image)
            name = _name(image)
        image = self._with_channels(image, name)
        if self.spatial_dims == 3 and image.ndim == 3:
            raise ValueError(f"{name}: is a 2D image while spatial_dims is 3; set spatial_dims to 2 or give volumes")
        if label is not None and self.num_classes is not None:
            try:
                item["label"] = _cut(self._label(label, colors, image, name), slab, name)
            except (ValueError, OSError) as error:
                if self.need_label:
                    raise
                self._tell(f"the label is left out: {error}")
        image = _cut(image, slab, name)
        # the values that become 0 and 1 where the image is scaled, so that a reconstruction can be put back to them
        image.meta["intensity_range"] = (float(image.min()), float(image.max()))
        item["image"] = image
        return item

    def _tell(self, line: str) -> None:
        """Log a line once, however often a case is loaded."""
        if line not in self._told:
            self._told.add(line)
            _logger.info(line)

    def _with_channels(self, image: MetaTensor, name: str) -> MetaTensor:
        channels = len(image)
        if channels == self.in_channels:
            return image
        if image.ndim == 3 and channels in (2, 4) and image[-1].min() == image[-1].max():
            image = image[:-1]
        if self.in_channels == 1 and len(image) == 3 and is_grey(image):
            image = image[:1]
        if len(image) != self.in_channels:
            raise ValueError(
                f"{name}: has {channels} channel{'s' * (channels > 1)} while in_channels is {self.in_channels}; set "
                f"in_channels to {len(image)} or convert the image"
            )
        return image

    def _label(self, label: Any, colors: Any, image: MetaTensor, name: str) -> MetaTensor:
        if isinstance(label, torch.Tensor):
            label_name = _name(label)
            classes = to_label_map(label.cpu().numpy(), label_name, self.num_classes)
            loaded = MetaTensor(torch.from_numpy(classes), meta=label.meta)
        else:
            label_name = os.fspath(label)
            array, affine = read_array(label, indexed=True)
            classes = to_label_map(array, label_name, self.num_classes, colors)
            loaded = oriented(torch.from_numpy(np.ascontiguousarray(classes)), affine, label_name, array.dtype)
        if loaded.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"{label_name}: shape {tuple(loaded.shape[1:])} differs from {tuple(image.shape[1:])} of its image "
                f"{name}; an image and its mask must have one shape"
            )
        if image.ndim == 4:
            shift = displacement(loaded.affine.numpy(), image.affine.numpy(), image.shape[1:])
            if shift > 0.5:
                raise ValueError(
                    f"{label_name}: lies {shift:.1f} voxels off its image {name} (the affines differ); "
                    "resample the mask onto the image, or copy the image's affine when the voxels do match"
                )
        return loaded


def _name(image: MetaTensor) -> str:
    return str(image.meta.get("filename_or_obj", "the image")) if isinstance(image, MetaTensor) else "the image"


def _cut(image: MetaTensor, slab: tuple[int, int] | None, name: str) -> MetaTensor:
    if slab is None:
        return image
    if image.ndim != 4:
        raise ValueError(f"{name}: is a 2D image, which cannot be divided into slabs; set split_by to case")
    first, last = slab
    affine = image.affine.clone()
    affine[:3, 3] += affine[:3, 2] * first
    return MetaTensor(image.as_tensor()[..., first:last].contiguous(), meta={**image.meta, "affine": affine})
