"""Checks a loaded case and gives it the channels and labels that networks take."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.gi_tract import NamedSize
from ..data.masks import is_grey, to_label_map
from ..data.neighbours import own_channels, stack_neighbours
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
        multi_label: the label is a mask of each of ``num_classes`` classes, without the background.
        neighbour_slices: slices on each side that a slice has as channels too: a picture brings them, those of a volume
            are added here.

    Raises:
        ValueError: If ``in_channels``, ``num_classes`` or ``spatial_dims`` is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None = None,
        spatial_dims: int = 2,
        need_label: bool = True,
        multi_label: bool = False,
        neighbour_slices: int = 0,
    ) -> None:
        super().__init__(keys=("image", "label"), allow_missing_keys=True)
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}; expected at least 1")
        if num_classes is not None and num_classes < 2 and not multi_label:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2 (the background and one class)")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}; expected 2 or 3")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.spatial_dims = spatial_dims
        self.need_label = need_label
        self.multi_label = multi_label
        self.neighbour_slices = neighbour_slices
        self.own_channels = own_channels(in_channels, neighbour_slices, spatial_dims)
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
        pixel_size = item.pop("pixel_size", None)
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
                labels = (
                    fitting_masks(label, self.num_classes, image)
                    if self.multi_label
                    else fitting_labels(label, self.num_classes, colors, image)
                )
                item["label"] = cut_slab(labels, slab, name)
            except ValueError as error:
                if self.need_label:
                    raise
                report_label(error, self._reported)
        image = cut_slab(image, slab, name)
        if image.ndim == 4 and self.neighbour_slices:
            image = _like(image, stack_neighbours(image.as_tensor(), self.neighbour_slices))
        if pixel_size is not None:
            affine = spacing_affine(pixel_size, image, name)
            for key in {"label"} & item.keys():
                item[key].affine = affine
            image.affine = affine
        # the values that become 0 and 1 where the image is scaled, so that a reconstruction can be put back to them
        low, high = image.as_tensor().aminmax()
        image.meta["intensity_range"] = (float(low), float(high))
        item["image"] = image
        return item

    def _with_channels(self, image: torch.Tensor, name: str) -> torch.Tensor:
        channels = len(image)
        expected = self.own_channels if image.ndim == 4 else self.in_channels
        if channels == expected:
            return image
        if image.ndim == 3 and channels in (2, 4) and image[-1].min() == image[-1].max():
            image = image[:-1]
        if expected == 1 and len(image) == 3 and is_grey(image):
            image = image[:1]
        if len(image) != expected:
            raise ValueError(
                f"{name}: has {channels} channel{'s' * (channels > 1)}; expected in_channels, {expected}: set "
                f"in_channels to {len(image) * self.in_channels // expected} or convert the image"
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
    _check_place(label, image)
    return _like(label, classes.contiguous())


def _check_place(label: MetaTensor, image: MetaTensor) -> None:
    """Refuse a label that lies elsewhere than its image, a volume."""
    if image.ndim != 4:
        return
    shift = displacement(label.affine.numpy(), image.affine.numpy(), image.shape[1:])
    if shift > 0.5:
        raise ValueError(
            f"{_name(label, 'the label')}: lies {shift:.1f} voxels off its image {_name(image)} (the affines differ); "
            "resample the mask onto the image, or copy the image's affine when the voxels do match"
        )


def fitting_masks(label: MetaTensor, num_classes: int, image: MetaTensor) -> MetaTensor:
    """Masks of classes, 0 and 1, that lie on an image's grid.

    Args:
        label: (C, *S), in RAS orientation where it is a volume.
        num_classes: number of classes, without the background.
        image: (C, *S), in the same orientation.

    Returns:
        The masks (num_classes, *S), uint8.

    Raises:
        ValueError: If there are more or fewer, a value is another, or they are of another size than the image.
    """
    name = _name(label, "the label")
    masks = label.as_tensor()
    if tuple(masks.shape) != (num_classes, *image.shape[1:]):
        raise ValueError(
            f"{name}: has masks of {tuple(masks.shape)}; expected {(num_classes, *image.shape[1:])}, one of each class "
            f"on the grid of {_name(image)}: set num_classes, or mend the masks"
        )
    _check_place(label, image)
    if not ((masks == 0) | (masks == 1)).all():
        raise ValueError(f"{name}: the masks have values beside 0 and 1; expected these alone: mend the masks")
    return _like(label, masks.to(torch.uint8).contiguous())


def spacing_affine(pixel_size: NamedSize, image: MetaTensor, name: str) -> torch.Tensor:
    """The affine of a picture (C, W, H) whose name says its size and spacing, width or height first.

    Raises:
        ValueError: If the picture is of another size.
    """
    (first, second), spacings = pixel_size
    size = tuple(image.shape[1:])
    if size not in ((first, second), (second, first)):
        raise ValueError(
            f"{name}: has {size[0]}x{size[1]} pixels; expected {first}x{second}, as its name says: rename it, or put "
            "back the image"
        )
    along = spacings if size == (first, second) else spacings[::-1]
    return torch.diag(torch.tensor([*along, 1.0, 1.0], dtype=torch.float64))


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
