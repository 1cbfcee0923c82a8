"""Brings images of any size to the one that a network takes whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.utils import ensure_tuple_rep

from ..utils import as_bool


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
            size, mode = fitting_size(str(key), out[key].shape[1:], self.spatial_size)
            out[key] = Resize(size, mode=mode)(out[key])
        return out


class ResizeCased(MapTransform, InvertibleTransform):
    """An image resized as :class:`ResizeImaged` does it, and the label beside it by its nearest pixels; invertible.

    Args:
        keys: keys of the image and of what has its grid and may be missing, such as the label, (C, *S).
        spatial_size: size of the result, one number or one per axis; -1 keeps an axis.
        spatial_dims: number of the network's axes; further ones of a volume keep their size.
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int] | int, spatial_dims: int) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.spatial_size = ensure_tuple_rep(spatial_size, spatial_dims)
        self._used: dict[tuple[tuple[int, ...], str], Resize] = {}  # MONAI's inverse is that of the same object

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with image and label of the new size.

        Raises:
            ValueError: If an image has fewer axes than ``spatial_size``.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            size, mode = fitting_size(str(key), out[key].shape[1:], self.spatial_size)
            used = (size, mode if key == self.keys[0] else "nearest-exact")
            out[key] = self._used.setdefault(used, Resize(used[0], mode=used[1]))(out[key])
        return out

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the images of their former size."""
        out = dict(data)
        for key in self.key_iterator(out):
            applied = out[key].applied_operations[-1]["id"]
            out[key] = next(used for used in self._used.values() if id(used) == applied).inverse(out[key])
        return out


def fitting_size(key: str, before: Sequence[int], spatial_size: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The size that an image gets, and how.

    Args:
        key: the image's key, for the error.
        before: its size.
        spatial_size: that of its first axes.

    Returns:
        The size, -1 for axes that stay, and "area" where one gets shorter, else linear.

    Raises:
        ValueError: If it has fewer axes.
    """
    if len(before) < len(spatial_size):
        raise ValueError(f"{key} is {tuple(before)}; expected at least the {len(spatial_size)} axes of {spatial_size}")
    size = spatial_size + (-1,) * (len(before) - len(spatial_size))
    shorter = any(0 < new < old for new, old in zip(size, before))
    return size, "area" if shorter else "bilinear" if len(before) == 2 else "trilinear"


def whole_image_size(
    image_size: Sequence[int] | int,
    resize: bool | str,
    spacing: Sequence[float | None] | None = None,
    crop_foreground: bool | str = False,
) -> Sequence[int] | int | None:
    """The size to which whole images are brought.

    Args:
        image_size: size of what the network takes.
        resize: whether images are resized to it.
        spacing: mm to which volumes are resampled; None: not resampled.
        crop_foreground: whether images are cropped to their content.

    Returns:
        ``image_size``, or None where images keep their size.

    Raises:
        ValueError: If images are to be resized, and resampled or cropped too.
    """
    if not as_bool(resize):
        return None
    if spacing is not None or as_bool(crop_foreground):
        other = "crop_foreground is true" if spacing is None else f"spacing is {spacing}"
        raise ValueError(
            f"resize is true and {other}; expected one of them, for each gives images a grid: set resize to false, or "
            "leave spacing and crop_foreground out"
        )
    return image_size
