"""Pictures of images, label maps, reconstructions and classes, as RGB arrays."""

from __future__ import annotations

from collections.abc import Sequence

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
SMALLEST_TILE = 128
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


def middle_plane(image: torch.Tensor, volume: bool = False) -> np.ndarray:
    """The first channel of an image (C, *S) upright as (H, W), of a volume its middle axial slice.

    Args:
        image: (C, *S).
        volume: whether a 2D image is an axial slice of a volume.
    """
    array = np.array(image[0].detach().cpu(), np.float32)
    return plane(array, array.shape[-1] // 2, volume)


def grey(array: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
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
        planes[name] = enlarge(middle_plane(tensor, volume))
    low, high = np.percentile(planes["input" if label is None else "target"], (1, 99.5))
    pictures = {name: grey(array, low, high) for name, array in planes.items()}
    if label is not None:
        error = np.abs(planes["output"] - planes["target"])
        pictures[f"error x {ERROR_GAIN:g}"] = grey(error * ERROR_GAIN, 0.0, high - low)
    return tiles(pictures)


PICTURES = {"segmentation": segmentation_picture, "reconstruction": reconstruction_picture}


def classification_picture(
    images: Sequence[np.ndarray], predicted: Sequence[str], truths: Sequence[str | None], columns: int = 8
) -> np.ndarray:
    """Images with their predicted class above: green where it is right, red with the true class below it where not.

    Args:
        images: grey values (H, W) upright, such as ``middle_plane`` gives.
        predicted: name of each one's predicted class.
        truths: name of each one's true class, None where it is unknown; its prediction is then grey.
        columns: images side by side.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    gap, line = 4, 16
    pictures = [grey(enlarge(image, SMALLEST_TILE)).round().astype(np.uint8) for image in images]
    height = max(len(picture) for picture in pictures) + 2 * line
    width = max(picture.shape[1] for picture in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", ((width + gap) * columns - gap, (height + gap) * rows - gap))
    font = ImageFont.load_default(12)
    for i, (picture, name, truth) in enumerate(zip(pictures, predicted, truths, strict=True)):
        tile = Image.new("RGB", (width, height))  # cuts a name that is too long
        draw = ImageDraw.Draw(tile)
        colour = (220, 220, 220) if truth is None else (90, 220, 90) if truth == name else (255, 90, 90)
        draw.text((3, 1), name, font=font, fill=colour)
        if truth not in (None, name):
            draw.text((3, 1 + line), f"is {truth}", font=font, fill=colour)
        tile.paste(Image.fromarray(picture), (0, 2 * line))
        sheet.paste(tile, (i % columns * (width + gap), i // columns * (height + gap)))
    return np.asarray(sheet)


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A confusion matrix: counts in the cells, shaded by their share of the true class.

    Args:
        matrix: counts (K, K); rows are true, columns predicted classes.
        names: a name a class.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = 2.2 + 0.6 * len(names)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained", dpi=100)
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
