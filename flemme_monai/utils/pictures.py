"""Pictures of images, label maps and reconstructions, as RGB arrays."""

from __future__ import annotations

import numpy as np
import torch

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
SMALLEST = 256
FILL = 0.35
ERROR_GAIN = 5.0


def label_map(scores: torch.Tensor | np.ndarray) -> np.ndarray:
    """Labels (*S) of a label map (1, *S) or of one channel a class (C, *S)."""
    array = np.asarray(torch.as_tensor(scores).detach().cpu())
    return array.argmax(0) if array.shape[0] > 1 else np.rint(array[0]).astype(np.int64)


def plane(array: np.ndarray, at: int, volume: bool) -> np.ndarray:
    """An image (W, H) upright as (H, W), or the axial slice ``at`` of a RAS volume (X, Y, Z) as radiologists see it."""
    flat = array[..., at] if array.ndim == 3 else array
    return flat[::-1, ::-1].T if volume or array.ndim == 3 else flat.T


def fullest_slice(labels: np.ndarray) -> int:
    """The axial slice (last axis) of a volume with most foreground, the middle one where there is none."""
    counts = (labels > 0).sum((0, 1))
    return int(counts.argmax()) if counts.any() else labels.shape[2] // 2


def grey(array: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Values as RGB (H, W, 3) from black at ``low`` to white at ``high``, by default the 1st and 99.5th percentile."""
    if low is None or high is None:
        low, high = np.percentile(array, (1, 99.5))
    scaled = np.clip((array - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.repeat(scaled.astype(np.float32)[..., None], 3, axis=2)


def enlarge(array: np.ndarray) -> np.ndarray:
    """Repeat pixels until the longer side is at least 256."""
    factor = -(-SMALLEST // max(array.shape[:2]))
    return array.repeat(factor, 0).repeat(factor, 1)


def outline(labels: np.ndarray) -> np.ndarray:
    """Foreground pixels (H, W) that have a neighbour of another label."""
    edge = np.pad(labels, 1, mode="edge")
    middle = edge[1:-1, 1:-1]
    differs = [middle != edge[1:-1, :-2], middle != edge[1:-1, 2:], middle != edge[:-2, 1:-1], middle != edge[2:, 1:-1]]
    return np.logical_or.reduce(differs) & (labels > 0)


def paint(picture: np.ndarray, labels: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """Labels over a picture: half transparent with an outline, and the outline of the true labels in white.

    Args:
        picture: (H, W, 3), 0 to 255.
        labels: label map (H, W).
        truth: label map (H, W).

    Returns:
        A new picture (H, W, 3).
    """
    colours = COLOURS[(labels - 1) % len(COLOURS)]
    painted = np.where((labels > 0)[..., None], (1 - FILL) * picture + FILL * colours, picture)
    edge = outline(labels)
    painted[edge] = colours[edge]
    if truth is not None:
        painted[outline(truth)] = 255
    return painted


def tiles(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) of one size side by side under their captions, as uint8 RGB."""
    from PIL import Image, ImageDraw, ImageFont

    gap, head = 4, 18
    height, width = next(iter(pictures.values())).shape[:2]
    sheet = Image.new("RGB", ((width + gap) * len(pictures) - gap, height + head))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for i, (caption, picture) in enumerate(pictures.items()):
        left = i * (width + gap)
        draw.text((left + 3, 2), caption, font=font, fill=(220, 220, 220))
        sheet.paste(Image.fromarray(picture.round().astype(np.uint8)), (left, head))
    return np.asarray(sheet)


def segmentation_picture(
    image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, volume: bool = False
) -> np.ndarray:
    """Image, true labels where given, and predicted labels with the outline of the true ones.

    Args:
        image: (C, *S); its first channel is shown.
        pred: label map (1, *S) or one channel a class (C, *S).
        label: as ``pred``.
        volume: whether a 2D image is an axial slice of a volume.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    labels, truth = label_map(pred), None if label is None else label_map(label)
    at = fullest_slice(truth if truth is not None and truth.any() else labels) if labels.ndim == 3 else 0
    flat = grey(enlarge(plane(np.asarray(image[0].detach().cpu(), np.float32), at, volume)))
    labels = enlarge(plane(labels, at, volume))
    if truth is None:
        return tiles({"image": flat, "prediction": paint(flat, labels)})
    truth = enlarge(plane(truth, at, volume))
    return tiles(
        {"image": flat, "label": paint(flat, truth), "prediction (label in white)": paint(flat, labels, truth)}
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
    planes = {}
    for name, tensor in named.items():
        array = np.asarray(tensor[0].detach().cpu(), np.float32)
        planes[name] = enlarge(plane(array, array.shape[-1] // 2, volume))
    low, high = np.percentile(planes["input" if label is None else "target"], (1, 99.5))
    pictures = {name: grey(array, low, high) for name, array in planes.items()}
    if label is not None:
        error = np.abs(planes["output"] - planes["target"])
        pictures[f"error x {ERROR_GAIN:g}"] = grey(error * ERROR_GAIN, 0.0, high - low)
    return tiles(pictures)
