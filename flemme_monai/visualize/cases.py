"""Pictures of a case with what a network makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from .grids import image_grid
from .slices import (
    axial_slice,
    enlarge,
    fullest_slice,
    label_map,
    middle_slice,
    overlay_errors,
    overlay_labels,
    to_gray_rgb,
)

ERROR_GAIN = 5.0


def segmentation_picture(
    image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, volume: bool = False
) -> np.ndarray:
    """Image, true labels where given, predicted labels with the outline of the true ones, and errors in red.

    Args:
        image: (C, *S); its first channel is shown.
        pred: label map (1, *S) or one channel per class (C, *S).
        label: as ``pred``.
        volume: whether a 2D image is an axial slice of a volume.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    labels, truth = label_map(pred), None if label is None else label_map(label)
    index = fullest_slice(truth if truth is not None and truth.any() else labels) if labels.ndim == 3 else 0
    gray = to_gray_rgb(enlarge(axial_slice(np.asarray(image[0].detach().cpu(), np.float32), index, volume)))
    labels = enlarge(axial_slice(labels, index, volume))
    if truth is None:
        return image_grid({"image": gray, "prediction": overlay_labels(gray, labels)})
    truth = enlarge(axial_slice(truth, index, volume))
    return image_grid(
        {
            "image": gray,
            "label": overlay_labels(gray, truth),
            "prediction (label in white)": overlay_labels(gray, labels, truth),
            "errors in red": overlay_errors(gray, labels, truth),
        }
    )


def reconstruction_picture(
    image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, volume: bool = False
) -> np.ndarray:
    """Input and output, and where the target is given also that and the error of the output.

    Args:
        image: the network's input (C, *S); the first channel is shown, of a volume the middle axial slice.
        pred: the network's output (C, *S).
        label: the target (C, *S).
        volume: whether a 2D image is an axial slice of a volume.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    named = {"input": image, "output": pred} | ({} if label is None else {"target": label})
    slices = {name: enlarge(middle_slice(tensor, volume)) for name, tensor in named.items()}
    low, high = np.percentile(slices["input" if label is None else "target"], (1, 99.5))
    pictures = {name: to_gray_rgb(array, low, high) for name, array in slices.items()}
    if label is not None:
        error = np.abs(slices["output"] - slices["target"])
        pictures[f"error x {ERROR_GAIN:g}"] = to_gray_rgb(error * ERROR_GAIN, 0.0, high - low)
    return image_grid(pictures)


def level_picture(image: torch.Tensor, levels: Sequence[torch.Tensor]) -> np.ndarray:
    """An image and the predictions of a hierarchical network's levels, coarse to fine, of a volume the middle slice.

    Args:
        image: (C, *S); its first channel is shown.
        levels: logits of classes or images (C, *s_i) each; of several channels the class of the largest is shown.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    shown = {"image": to_gray_rgb(enlarge(middle_slice(image)))}
    for i, level in enumerate(levels):
        whole = interpolate(level[None].float(), image.shape[1:], mode="nearest-exact")[0]
        if len(whole) == 1:
            picture = to_gray_rgb(enlarge(middle_slice(whole)))
        else:
            labels = enlarge(axial_slice(np.asarray(whole.argmax(0)), image.shape[-1] // 2, False))
            picture = overlay_labels(np.zeros((*labels.shape, 3), np.float32), labels)
        shown[f"level {i}"] = picture
    return image_grid(shown)
