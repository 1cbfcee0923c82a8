"""Two-dimensional views of images and label maps as RGB arrays."""

from __future__ import annotations

import numpy as np
import torch
from monai.visualize import blend_images

from ..data.files import PICTURE_SUFFIXES, image_suffix

COLOURS = np.array(
    [
        (230, 60, 60),
        (60, 180, 75),
        (70, 120, 240),
        (255, 200, 25),
        (240, 50, 230),
        (70, 220, 230),
        (245, 130, 48),
        (145, 90, 200),
        (190, 240, 70),
        (250, 160, 190),
        (0, 130, 128),
        (170, 110, 40),
    ],
    dtype=np.float32,
)
ERROR_COLOUR, ERROR_OPACITY = (255, 0, 0), 0.7
SMALLEST = 256
OPACITY = 0.35


def is_volume(image: torch.Tensor) -> bool:
    """Whether an image (C, *S) comes from a volume's file: a NIfTI, an NRRD, a folder of DICOM."""
    source = str(getattr(image, "meta", {}).get("filename_or_obj", ""))
    return bool(source) and image_suffix(source) not in PICTURE_SUFFIXES


def label_map(scores: torch.Tensor | np.ndarray) -> np.ndarray:
    """Labels (*S) of a label map (1, *S) or of one channel per class (C, *S)."""
    array = np.asarray(torch.as_tensor(scores).detach().cpu())
    if array.shape[0] > 1:
        return array.argmax(0)
    return array[0] if array.dtype.kind in "iu" else np.rint(array[0]).astype(np.int64)


def plain_image(image: torch.Tensor | np.ndarray) -> torch.Tensor:
    """An image as float32 on the CPU without meta data."""
    return torch.as_tensor(np.asarray(torch.as_tensor(image).detach().cpu(), np.float32))


def axial_slice(array: np.ndarray, index: int, volume: bool) -> np.ndarray:
    """One slice upright: an image (W, H) as (H, W), an axial slice of a RAS volume as radiologists see it.

    Args:
        array: an image (W, H), or a volume (X, Y, Z) in RAS orientation.
        index: the slice along the last axis of a volume.
        volume: whether a 2D image is an axial slice of a volume.
    """
    flat = array[..., index] if array.ndim == 3 else array
    return flat[::-1, ::-1].T if volume or array.ndim == 3 else flat.T


def middle_slice(image: torch.Tensor, volume: bool = False) -> np.ndarray:
    """The first channel of an image (C, *S) upright as (H, W), of a volume its middle axial slice.

    Args:
        image: (C, *S).
        volume: whether a 2D image is an axial slice of a volume.
    """
    array = np.array(image[0].detach().cpu(), np.float32)
    return axial_slice(array, array.shape[-1] // 2, volume)


def fullest_slice(labels: np.ndarray) -> int:
    """Index of the axial slice (last axis) with most foreground, of the middle one where there is none."""
    counts = (labels > 0).sum((0, 1))
    return int(counts.argmax()) if counts.any() else labels.shape[2] // 2


def to_gray_rgb(array: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Values as RGB (H, W, 3) from black at ``low`` to white at ``high``, by default the 1st and 99.5th percentile."""
    if low is None or high is None:
        low, high = np.percentile(array, (1, 99.5))
    scaled = np.clip((array - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.repeat(scaled.astype(np.float32)[..., None], 3, axis=2)


def enlarge(array: np.ndarray, smallest: int = SMALLEST) -> np.ndarray:
    """Repeat pixels until the longer side is at least ``smallest``."""
    factor = -(-smallest // max(array.shape[:2]))
    return array.repeat(factor, 0).repeat(factor, 1)


def outline(labels: np.ndarray) -> np.ndarray:
    """Foreground pixels (H, W) that have a neighbour of another label."""
    edge = np.pad(labels, 1, mode="edge")
    middle = edge[1:-1, 1:-1]
    differs = [middle != edge[1:-1, :-2], middle != edge[1:-1, 2:], middle != edge[:-2, 1:-1], middle != edge[2:, 1:-1]]
    return np.logical_or.reduce(differs) & (labels > 0)


def overlay_labels(
    picture: np.ndarray, labels: np.ndarray, truth: np.ndarray | None = None, opacity: float = OPACITY
) -> np.ndarray:
    """Labels over a picture: half transparent with an outline, and the outline of the true labels in white.

    It is MONAI's ``blend_images`` with a fixed colour per class, where that function's default colours depend on the
    highest label of the slice, and with the outlines that it lacks. MONAI 1.6.1 converts opacity and colours to the
    labels' type, which leaves nothing of them where labels are integers; it gets shares of the table of colours.

    Args:
        picture: (H, W, 3), 0 to 255.
        labels: label map (H, W).
        truth: label map (H, W).
        opacity: of the labels, from 0 (their outlines alone) to 1.

    Returns:
        A new picture (H, W, 3).
    """
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(np.concatenate([np.zeros((1, 3)), COLOURS / 255]))
    index = np.where(labels > 0, (labels - 1) % len(COLOURS) + 1, 0)  # (H, W), 0 is the background
    share = np.where(index > 0, (index + 0.5) / colours.N, 0.0)[None]  # (1, H, W)
    blended = blend_images(
        np.moveaxis(picture, -1, 0) / 255,
        share,
        opacity,
        colours,  # type: ignore[arg-type]  # MONAI hands it on to matplotlib, which takes a Colormap too
        rescale_arrays=False,
    )
    overlay = np.moveaxis(np.asarray(blended), 0, -1).astype(np.float32) * 255
    edge = outline(labels)
    overlay[edge] = COLOURS[index[edge] - 1]
    if truth is not None:
        overlay[outline(truth)] = 255
    return overlay


def overlay_errors(picture: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A picture with red where the labels are not the true ones, and the outline of the true labels in white.

    Args:
        picture: (H, W, 3), 0 to 255.
        labels, truth: label maps (H, W).

    Returns:
        A new picture (H, W, 3).
    """
    marked = picture.astype(np.float32).copy()
    wrong = labels != truth
    marked[wrong] = (1 - ERROR_OPACITY) * marked[wrong] + ERROR_OPACITY * np.array(ERROR_COLOUR, np.float32)
    marked[outline(truth) & ~wrong] = 255
    return marked
