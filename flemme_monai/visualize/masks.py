"""Pictures of masks of several classes, which may overlap."""

from __future__ import annotations

import numpy as np
import torch

from .examples import Example, Tile, repeated, upright
from .grids import image_grid
from .slices import axial_slice, enlarge, fullest_slice, overlay_labels, to_gray_rgb


def overlay_masks(picture: np.ndarray, masks: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """Masks over a picture, one over the other, each half transparent in the colour of its class.

    Args:
        picture: (H, W, 3), 0 to 255.
        masks: (C, H, W).
        truth: masks (C, H, W), whose outlines are drawn in white.

    Returns:
        A new picture (H, W, 3).
    """
    overlay = picture
    for index in range(len(masks)):
        labels = np.where(masks[index] != 0, index + 1, 0)
        outlined = None if truth is None else (truth[index] != 0).astype(np.int64)
        overlay = overlay_labels(overlay, labels, outlined)
    return overlay


def multi_label_picture(
    image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, volume: bool = False
) -> np.ndarray:
    """Image, true masks where given, and predicted masks with the outlines of the true ones.

    Args:
        image: (C, *S); its first channel is shown.
        pred: masks (classes, *S).
        label: as ``pred``.
        volume: whether a 2D image is an axial slice of a volume.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    masks = plain_masks(pred)
    truth = None if label is None else plain_masks(label)
    shown = truth if truth is not None and truth.any() else masks
    index = fullest_slice(np.asarray(shown.any(0))) if masks.ndim == 4 else 0

    def flat(channels: np.ndarray) -> np.ndarray:
        return np.stack([enlarge(axial_slice(channel, index, volume)) for channel in channels])

    gray = to_gray_rgb(flat(np.asarray(image[:1].detach().cpu(), np.float32))[0])
    if truth is None:
        return image_grid({"image": gray, "prediction": overlay_masks(gray, flat(masks))})
    return image_grid(
        {
            "image": gray,
            "label": overlay_masks(gray, flat(truth)),
            "prediction (label in white)": overlay_masks(gray, flat(masks), flat(truth)),
        }
    )


def multi_label_row(example: Example) -> list[Tile]:
    """Image, true masks, and predicted masks with the outlines of the true ones, side by side."""
    picture = upright(example.image, example.volume)

    def flat(channels: np.ndarray) -> np.ndarray:
        return np.stack([repeated(axial_slice(channel, 0, example.volume)) for channel in channels])

    masks = flat(example.pred)
    cells = [Tile(picture, f"{example.name}: image")]
    if example.label is None:
        return [*cells, Tile(overlay_masks(picture, masks), "prediction")]
    truth = flat(example.label)
    return [
        *cells,
        Tile(overlay_masks(picture, truth), "label"),
        Tile(overlay_masks(picture, masks, truth), "prediction, label in white"),
    ]


def plain_masks(masks: torch.Tensor | np.ndarray) -> np.ndarray:
    """Masks (C, *S) as 0 and 1 on the CPU, uint8."""
    return (np.asarray(torch.as_tensor(masks).detach().cpu()) != 0).astype(np.uint8)
