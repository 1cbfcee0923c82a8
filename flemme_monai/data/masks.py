"""Turns a mask as people store it (0/255, label values, grey levels, colours, alpha) into a label map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from .files import image_suffix
from .reading import read_array

Color = tuple[int, int, int]
_MAX_LEVELS = 16  # with more classes a grey level could be taken for a label value
_MAX_COLORS = 256
_OFF_WHOLE = 5e-6  # how far arithmetic may move a label, relatively
_GREY_MODES = ("1", "L", "LA", "P", "PA", "I", "F", "I;16", "I;16B", "I;16L")


def to_label_map(
    array: np.ndarray, name: str, num_classes: int, colors: Sequence[Sequence[int]] | None = None
) -> np.ndarray:
    """Label map of a mask.

    Label values 0 to ``num_classes`` - 1 stay. Up to 16 classes may also be equally spaced grey levels from 0 to the
    top of the range (0/255 for two classes, 0/128/255 for three). Colours become classes by their place in ``colors``.
    Transparent pixels are background; a black picture whose alpha alone varies is a mask by its alpha.

    Args:
        array: (C, *S) as read from the file; C is 1 (grey or labels), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
        name: the file's path, for errors.
        num_classes: number of classes, background included.
        colors: (n, 3) colour of each class, when the data set's masks are coloured.

    Returns:
        (1, *S) label map, uint8, or int32 above 256 classes.

    Raises:
        ValueError: If a value or colour belongs to no class.
    """
    dtype = np.uint8 if num_classes <= 256 else np.int32
    array = _whole(_without_alpha(array, name), name)
    if colors is not None:
        return _classes_of_colors(array, name, colors).astype(dtype)
    if len(array) == 3:
        if not is_grey(array):
            raise ValueError(
                f"{name}: is coloured while no colours are known; list them as [[r, g, b], ...] in class order in "
                "colors.json in the data set's folder"
            )
        array = array[:1]
    if image_suffix(name) in (".jpg", ".jpeg"):
        return _nearest_level(array, name, num_classes).astype(dtype)
    values = _values(array)
    if not values or (values[0] >= 0 and values[-1] < num_classes):
        return array.astype(dtype)
    for top in (255, 65535) if num_classes <= _MAX_LEVELS else ():
        classes = [round(value * (num_classes - 1) / top) for value in values]
        if 0 <= values[0] <= values[-1] <= top and all(
            abs(value - k * top / (num_classes - 1)) < 1 for value, k in zip(values, classes)
        ):
            return np.asarray(classes, dtype=dtype)[np.searchsorted(values, array)]
    beyond = next(value for value in values if not 0 <= value < num_classes)
    raise ValueError(
        f"{name}: label {beyond} is beyond num_classes {num_classes} (found {_few(values)}); expected "
        f"{_allowed(num_classes)}: set num_classes to the number of classes with the background, or mend the mask"
    )


def mask_colors(paths: Iterable[str | os.PathLike]) -> list[Color] | None:
    """The distinct colours of a data set's masks, in sorted order.

    Args:
        paths: the mask files.

    Returns:
        The colours, black among them where pixels are transparent, or None when every mask is grey.

    Raises:
        ValueError: If a file has more than 256 colours or is a coloured JPEG.
    """
    found: set[Color] = set()
    coloured = False
    for path in paths:
        if not _has_color_channels(path):
            continue
        array = _without_alpha(read_array(path, indexed=True)[0], os.fspath(path))
        if len(array) == 3 and not is_grey(array):
            coloured = True
            if image_suffix(path) in (".jpg", ".jpeg"):
                raise ValueError(f"{path}: a JPEG does not keep the exact colours of a mask; store masks as PNG")
        if len(array) in (1, 3):
            found.update(_unpack(code) for code in np.unique(_packed(array, os.fspath(path))))
        if coloured and len(found) > _MAX_COLORS:
            raise ValueError(f"{path}: brings the masks to {len(found)} colours; expected one per class: mend it")
    return sorted(found) if coloured else None


def check_levels(paths: Iterable[str | os.PathLike], num_classes: int) -> None:
    """Refuse masks of two grey levels, 0 and the top, for more classes than two: the top would be the last class.

    Args:
        paths: the mask files; they are read until one has another value.
        num_classes: number of classes, background included.

    Raises:
        ValueError: If no mask has another value.
    """
    if not 2 < num_classes <= _MAX_LEVELS:
        return
    found: set[int] = set()
    for path in paths:
        array = _without_alpha(read_array(path, indexed=True)[0], os.fspath(path))
        if array.dtype.kind not in "bu" or image_suffix(path) in (".jpg", ".jpeg"):
            return
        found.update(np.unique(array).tolist())
        if not found <= {0, 255} and not found <= {0, 65535}:
            return
    if max(found, default=0) > 0:
        raise ValueError(
            f"{os.path.dirname(os.fspath(path))}: the masks hold only 0 and {max(found)}, which is one class and the "
            f"background, while num_classes is {num_classes}; set num_classes to 2"
        )


def is_grey(array: np.ndarray | torch.Tensor) -> bool:
    """Whether the first three channels of (C, *S) are equal."""
    others, first = np.asarray(array[1:3]), np.asarray(array[:1])
    return bool((others == first).all())


def _has_color_channels(path: str | os.PathLike) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.mode not in _GREY_MODES
    except Exception:  # who reads it says what is wrong with it
        return False


def _without_alpha(array: np.ndarray, name: str) -> np.ndarray:
    if len(array) in (1, 3):
        return array
    if len(array) not in (2, 4):
        raise ValueError(f"{name}: a mask has {len(array)} channels; expected one label map, grey, RGB or RGBA")
    colour, alpha = array[:-1], array[-1:]
    half = 32768 if array.dtype == np.uint16 else 128
    if not colour.any() and alpha.min() != alpha.max():
        return np.where(alpha >= half, 255, 0).astype(array.dtype).repeat(len(colour), axis=0)
    return np.where(alpha >= half, colour, 0).astype(array.dtype)


def _packed(array: np.ndarray, name: str) -> np.ndarray:
    """(1 or 3, *S) colours as one number per pixel, 0xRRGGBB; those of 16 bits are 257 times those of 8."""
    if array.dtype == np.uint16:
        if (array % 257).any():
            raise ValueError(f"{name}: has colours of 16 bits that no 8 bits have; store masks with 8 bits per channel")
        array = array // 257
    red, green, blue = array.astype(np.uint32) if len(array) == 3 else array.astype(np.uint32).repeat(3, axis=0)
    return np.asarray((red << 16) | (green << 8) | blue)


def _unpack(code: int) -> Color:
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _classes_of_colors(array: np.ndarray, name: str, colors: Sequence[Sequence[int]]) -> np.ndarray:
    packed = _packed(array, name)
    known = np.array([(red << 16) | (green << 8) | blue for red, green, blue in colors], dtype=np.uint32)
    order = np.argsort(known)
    place = np.searchsorted(known[order], packed).clip(max=len(known) - 1)
    strange = known[order][place] != packed
    if strange.any():
        raise ValueError(
            f"{name}: colour {_unpack(packed[strange][0])} belongs to no class; expected one of "
            f"{_few([tuple(color) for color in colors])}"
        )
    return order[place][None]


def _nearest_level(array: np.ndarray, name: str, num_classes: int) -> np.ndarray:
    """Classes of a JPEG's grey levels, which its compression has blurred."""
    if not array.any():
        return array
    step = 255 / (num_classes - 1)
    classes = np.rint(array / step)
    far = np.abs(array - classes * step) > step / 4
    if num_classes > _MAX_LEVELS or not classes.any() or far.mean() > 0.05:
        raise ValueError(
            f"{name}: a JPEG does not keep label values (found {_few(_values(array))}); store masks as PNG"
            + (f", or as the grey levels {_levels(num_classes)}" if num_classes <= _MAX_LEVELS else "")
        )
    return classes


def _whole(array: np.ndarray, name: str) -> np.ndarray:
    """A mask of whole numbers; those that a scale factor in float32 has moved off them are put back."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: the mask's voxels are {array.dtype}; expected whole numbers, which labels are")
    if array.dtype.kind != "f" or not array.size:
        return array
    top = np.abs(array).max()
    if not np.isfinite(top):
        raise ValueError(f"{name}: the mask holds NaN or Inf; expected whole numbers, which labels are: mend the file")
    whole = np.rint(array)
    broken = np.abs(array - whole) > _OFF_WHOLE * max(top, 1)
    if broken.any():
        raise ValueError(
            f"{name}: the mask holds {array[broken][0]:.9g}; expected whole numbers, which labels are (was it "
            "interpolated?)"
        )
    return whole


def _values(array: np.ndarray) -> list[int]:
    """Sorted distinct values of a mask of whole numbers."""
    if array.dtype.kind in "bu" and array.dtype.itemsize <= 2:
        return np.flatnonzero(np.bincount(array.ravel())).tolist()
    return [int(value) for value in np.unique(array)]


def _levels(num_classes: int) -> str:
    return ", ".join(str(round(k * 255 / (num_classes - 1))) for k in range(num_classes))


def _allowed(num_classes: int) -> str:
    labels = f"labels 0 to {num_classes - 1}"
    return f"{labels} or the grey levels {_levels(num_classes)}" if num_classes <= _MAX_LEVELS else labels


def _few(values: Sequence) -> str:
    return ", ".join(str(value) for value in values[:10]) + (", ..." if len(values) > 10 else "")
