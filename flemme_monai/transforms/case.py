"""Checks a loaded case and gives it the channels and labels that networks take."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.masks import is_grey, to_label_map
from ..data.reading import check_finite, displacement

_logger = logging.getLogger(__name__)


class CheckCased(MapTransform):
    """Checks that ``image`` and, with ``num_classes``, ``label`` fit each other and the network.

    Args:
        in_channels: number of image channels expected. RGB with equal channels counts as one channel, and a picture's
            alpha channel without transparency is left out, where that gives ``in_channels``.
        num_classes: number of classes of the label map, background included; None: the label is not used.
        spatial_dims: 2 takes pictures and volumes (to be cut into slices), 3 takes volumes only.
        need_label: whether a label that does not fit is an error; else it is left out, which is logged.

    Raises:
        ValueError: If ``in_channels``, ``num_classes`` or ``spatial_dims`` is out of range.
    """

    def __init__(
        self, in_channels: int, num_classes: int | None = None, spatial_dims: int = 2, need_label: bool = True
    ) -> None:
        super().__init__(keys=("image", "label"), allow_missing_keys=True)
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}; expected at least 1")
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2 (the background and one class)")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}; expected 2 or 3")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.spatial_dims = spatial_dims
        self.need_label = need_label
        self._reported: set[str] = set()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Checks one item.

        Args:
            data: MetaTensors ``image`` (C, *S) and, where it is known, ``label`` (C, *S), both in RAS orientation where
                they are volumes; optionally ``slab`` ([first, last) along the last axis) and ``colors`` (of the label's
                classes).

        Returns:
            The item with ``image`` float32 (in_channels, *S), whose meta has an ``intensity_range``, and with
            ``num_classes`` the ``label`` (1, *S); the other entries stay, ``slab`` and ``colors`` are used up.

        Raises:
            ValueError: If the image or its label does not fit; the message names the file.
        """
        item = dict(data)
        slab, colors, label = (item.pop(key, None) for key in ("slab", "colors", "label"))
        image, name = item["image"], _name(item["image"])
        plain = image.as_tensor().float().contiguous()
        check_finite(plain, name)
        image = _like(image, self._with_channels(plain, name))
        if self.spatial_dims == 3 and image.ndim == 3:
            raise ValueError(
                f"{name}: is a 2D image; expected a volume, as spatial_dims is 3: set spatial_dims to 2 or give volumes"
            )
        if label is not None and self.num_classes is not None:
            try:
                item["label"] = cut_slab(fitting_labels(label, self.num_classes, colors, image), slab, name)
            except ValueError as error:
                if self.need_label:
                    raise
                report_label(error, self._reported)
        image = cut_slab(image, slab, name)
        # the values that become 0 and 1 where the image is scaled, so that a reconstruction can be put back to them
        low, high = image.as_tensor().aminmax()
        image.meta["intensity_range"] = (float(low), float(high))
        item["image"] = image
        return item

    def _with_channels(self, image: torch.Tensor, name: str) -> torch.Tensor:
        channels = len(image)
        if channels == self.in_channels:
            return image
        if image.ndim == 3 and channels in (2, 4) and image[-1].min() == image[-1].max():
            image = image[:-1]
        if self.in_channels == 1 and len(image) == 3 and is_grey(image):
            image = image[:1]
        if len(image) != self.in_channels:
            raise ValueError(
                f"{name}: has {channels} channel{'s' * (channels > 1)}; expected in_channels, {self.in_channels}: set "
                f"in_channels to {len(image)} or convert the image"
            )
        return image


def fitting_labels(label: MetaTensor, num_classes: int, colors: Any, image: MetaTensor) -> MetaTensor:
    """The classes of a label map that lies on an image's grid.

    Args:
        label: (C, *S), in RAS orientation where it is a volume.
        num_classes: number of classes, background included.
        colors: of the classes; None without.
        image: (C, *S), in the same orientation.

    Returns:
        The label map (1, *S).

    Raises:
        ValueError: If a value belongs to no class, or the label map lies elsewhere; the message names the file.
    """
    name, label_name = _name(image), _name(label, "the label")
    classes = torch.from_numpy(to_label_map(label.cpu().numpy(), label_name, num_classes, colors))
    if classes.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"{label_name}: has the shape {tuple(classes.shape[1:])}; expected {tuple(image.shape[1:])}, that of "
            f"its image {name}"
        )
    if image.ndim == 4:
        shift = displacement(label.affine.numpy(), image.affine.numpy(), image.shape[1:])
        if shift > 0.5:
            raise ValueError(
                f"{label_name}: lies {shift:.1f} voxels off its image {name} (the affines differ); "
                "resample the mask onto the image, or copy the image's affine when the voxels do match"
            )
    return _like(label, classes.contiguous())


def report_label(error: Exception, reported: set[str]) -> None:
    """Log once, however often a case is loaded, that its label is left out.

    Args:
        error: what is wrong with the label.
        reported: the lines that were logged, which gets this one.
    """
    line = f"the label is left out: {error}"
    if line not in reported:
        reported.add(line)
        _logger.info(line)


def _name(image: MetaTensor, unknown: str = "the image") -> str:
    return str(image.meta.get("filename_or_obj", unknown))


def cut_slab(image: MetaTensor, slab: Sequence[int] | None, name: str) -> MetaTensor:
    """The planes ([first, last) along the last axis) of a volume (C, *S) that a case has; None: all.

    Raises:
        ValueError: If the image is no volume.
    """
    if slab is None:
        return image
    if image.ndim != 4:
        raise ValueError(f"{name}: is a 2D image; expected a volume, to be divided into slabs: set split_by to case")
    first, last = slab
    part = _like(image, image.as_tensor()[..., first:last].contiguous())
    part.affine = image.affine.clone()
    part.affine[:3, 3] += part.affine[:3, 2] * first
    return part


def _like(image: MetaTensor, values: torch.Tensor) -> MetaTensor:
    """Values with an image's meta and record of what was applied to it."""
    return MetaTensor(values, meta=dict(image.meta), applied_operations=image.applied_operations)
