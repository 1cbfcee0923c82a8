"""Loading the image and the label map of a case, channel first and in RAS orientation, by MONAI's traced transforms."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImage, LoadImaged, MapTransform, Orientationd
from monai.utils import convert_to_tensor

from ..data.class_masks import ClassMasks, load_class_masks
from ..data.reader import CheckedReader
from .case import CheckCased, report_label


class LoadImageFilesd(LoadImaged):
    """MONAI's LoadImaged with the reader of this collection; arrays and tensors are loaded already and pass.

    Args:
        keys: keys of the images: a path, one path per channel, or an image in memory.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys, reader=CheckedReader())  # type: ignore[arg-type]  # MONAI takes an instance too

    def key_iterator(
        self, data: Mapping[Hashable, Any], *extra_iterables: Iterable | None
    ) -> Generator[Any, None, None]:
        """The keys of what is not in memory."""
        for found in super().key_iterator(data, *extra_iterables):
            if not isinstance(data[found[0] if extra_iterables else found], (np.ndarray, torch.Tensor)):
                yield found


class LoadLabeld(MapTransform):
    """Loads the label map of a case where it has one; arrays and tensors pass.

    It is no LoadImaged: MONAI Label expects the keys of those in every request.

    Args:
        keys: key of the label map.
        need_label: whether a file that cannot be read is an error; else the label is left out, which is logged.
    """

    def __init__(self, keys: KeysCollection = "label", need_label: bool = True) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.need_label = need_label
        self.load = LoadImage(CheckedReader(labels=True), dtype=None)
        self._reported: set[str] = set()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the label map as a MetaTensor (C, *S) in the file's dtype, or the masks of each class, uint8.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is unreadable; the message names it.
        """
        out = dict(data)
        for key in self.key_iterator(data):
            if not isinstance(out[key], (np.ndarray, torch.Tensor)):
                try:
                    masks = isinstance(out[key], ClassMasks)
                    out[key] = load_class_masks(out[key], out["image"]) if masks else self.load(out[key])
                except (ValueError, OSError) as error:
                    if self.need_label:
                        raise
                    del out[key]
                    report_label(error, self._reported)
        return out


class EnsureChannelAxisd(MapTransform):
    """MONAI's EnsureChannelFirstd, which here also knows whether the channels have an axis where the meta does not say.

    The grid has as many axes as the meta's ``spatial_shape``, else ``spatial_dims`` where the image has that many or
    one more, else one less than the image. An image with as many axes as its grid has no channel axis. With one more,
    the first is the channel axis, unless the meta's ``original_channel_dim`` names the last, which was not moved yet.

    Args:
        keys: keys of arrays, tensors or MetaTensors; those that are missing are passed over.
        spatial_dims: number of the network's axes.
    """

    def __init__(self, keys: KeysCollection, spatial_dims: int) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.spatial_dims = spatial_dims

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with MetaTensors (C, *S), whose meta has an ``original_affine``; what was given stays unchanged."""
        out = dict(data)
        for key in self.key_iterator(data):
            given = convert_to_tensor(out[key], track_meta=True)
            image = MetaTensor(given.as_tensor(), meta=dict(given.meta), applied_operations=given.applied_operations)
            if image.meta.get("original_affine") is None:
                image.meta["original_affine"] = image.affine.clone()
            out[key] = EnsureChannelFirst(channel_dim=self._channel_dim(image))(image)
        return out

    def _channel_dim(self, image: MetaTensor) -> int | str:
        """The channels' axis, "no_channel" where they have none."""
        grid = tuple(image.meta.get("spatial_shape", ()))
        if len(grid) in (2, 3):
            rank = len(grid)
        else:
            rank = self.spatial_dims if image.ndim - self.spatial_dims in (0, 1) else image.ndim - 1
        if image.ndim == rank:
            return "no_channel"
        last = image.meta.get("original_channel_dim") in (-1, rank)
        moved = tuple(image.shape[1:]) == grid != tuple(image.shape[:-1])
        return rank if last and not moved else 0


class OrientVolumesd(Orientationd):
    """MONAI's Orientationd to RAS for volumes; a 2D image stays as it is stored.

    Args:
        keys: keys of MetaTensors (C, *S); those that are missing are passed over.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys, axcodes="RAS", labels=None, allow_missing_keys=True)

    def key_iterator(
        self, data: Mapping[Hashable, Any], *extra_iterables: Iterable | None
    ) -> Generator[Any, None, None]:
        """The keys of volumes."""
        for found in super().key_iterator(data, *extra_iterables):
            if data[found[0] if extra_iterables else found].ndim == 4:
                yield found


class LoadImageAndLabeld(MapTransform):
    """Reads ``image`` and, with ``num_classes``, ``label`` of an item made by ``flemme_monai.data.split_datalist``.

    It is what the preprocessing of a bundle begins with, as one transform.

    Args:
        in_channels: number of image channels expected, see :class:`flemme_monai.transforms.CheckCased`.
        num_classes: number of classes of the label map, background included; None: the label is not used.
        spatial_dims: 2 takes pictures and volumes (to be cut into slices), 3 takes volumes only.
        need_label: whether a label that does not fit is an error; else it is left out, which is logged.

    Raises:
        ValueError: If ``in_channels``, ``num_classes`` or ``spatial_dims`` is out of range.
    """

    def __init__(
        self, in_channels: int, num_classes: int | None = None, spatial_dims: int = 2, need_label: bool = True
    ) -> None:
        keys = ("image",) if num_classes is None else ("image", "label")
        super().__init__(keys, allow_missing_keys=True)
        self.steps = (
            LoadImageFilesd("image"),
            *((LoadLabeld("label", need_label),) if num_classes is not None else ()),
            EnsureChannelAxisd(keys, spatial_dims),
            OrientVolumesd(keys),
            CheckCased(in_channels, num_classes, spatial_dims, need_label),
        )

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Loads one item.

        Args:
            data: ``image`` (a path, one path per channel, an array or a MetaTensor), and optionally ``label`` (a path,
                an array or a MetaTensor), ``slab`` ([first, last) along the last RAS axis) and ``colors`` (of the
                label's classes).

        Returns:
            The item with ``image`` float32 (in_channels, *S) and, with ``num_classes``, ``label`` (1, *S); the other
            entries stay, ``slab`` and ``colors`` are used up.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is unreadable or does not fit; the message names it.
        """
        item = dict(data)
        for step in self.steps:
            item = step(item)
        return item
