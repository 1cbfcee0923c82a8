"""Brings images of any size to the one that a network takes whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Resize
from monai.utils import ensure_tuple_rep


class ResizeImaged(MapTransform):
    """MONAI's Resize, except that a volume keeps its slices where the network is 2D.

    Pixels are averaged (mode "area", free of aliasing) where an axis gets shorter, and interpolated linearly where none
    does. The sides' ratio is not kept.

    Args:
        keys: keys of the images (C, *S).
        spatial_size: size of the result, one number or one per axis; -1 keeps an axis.
        spatial_dims: number of the network's axes.

    Raises:
        ValueError: If ``spatial_size`` has another number of axes.
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int] | int, spatial_dims: int) -> None:
        super().__init__(keys)
        self.spatial_size = ensure_tuple_rep(spatial_size, spatial_dims)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the images under the keys resized.

        Raises:
            ValueError: If an image has fewer axes than ``spatial_size``.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            before = out[key].shape[1:]
            if len(before) < len(self.spatial_size):
                raise ValueError(
                    f"{key} is {tuple(before)}; expected at least the {len(self.spatial_size)} axes of "
                    f"{self.spatial_size}"
                )
            size = self.spatial_size + (-1,) * (len(before) - len(self.spatial_size))
            shorter = any(0 < new < old for new, old in zip(size, before))
            linear = "bilinear" if len(before) == 2 else "trilinear"
            out[key] = Resize(size, mode="area" if shorter else linear)(out[key])
        return out


class ResizeCased(MapTransform):
    """An image resized as :class:`ResizeImaged` does it, and the label beside it by its nearest pixels.

    Args:
        keys: keys of the image and the label, which may be missing, (C, *S).
        spatial_size, spatial_dims: as of :class:`ResizeImaged`.
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int] | int, spatial_dims: int) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.image_key, *self.label_keys = self.keys
        self.resize_image = ResizeImaged(self.image_key, spatial_size, spatial_dims)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with image and label of the new size.

        Raises:
            ValueError: If the image has fewer axes than ``spatial_size``.
        """
        out = self.resize_image(data)
        size = out[self.image_key].shape[1:]
        for key in self.label_keys:
            if key in out:
                out[key] = Resize(size, mode="nearest-exact")(out[key])
        return out
