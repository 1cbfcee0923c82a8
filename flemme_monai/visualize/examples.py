"""A picture of some cases of a training with what the network makes of them, in rows under captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .cases import ERROR_GAIN
from .classes import RIGHT_COLOUR, WRONG_COLOUR
from .grids import CAPTION_COLOUR
from .slices import axial_slice, overlay_labels, to_gray_rgb

if TYPE_CHECKING:
    from PIL import Image, ImageFont

NOTE_COLOUR = (150, 150, 150)
TILE = 192
MARGIN, GAP, LINE = 8, 6, 17
Colour = tuple[int, int, int]


@dataclass
class Tile:
    """A picture under its caption.

    Args:
        picture: gray (H, W) or RGB (H, W, 3), 0 to 255.
        caption: one line above it, which reaches over those after it that have none.
        colour: of the caption.
    """

    picture: np.ndarray
    caption: str = ""
    colour: Colour = CAPTION_COLOUR


@dataclass
class Example:
    """A case as it is shown: an image, or the same slice of its volumes.

    Args:
        name: of the case.
        image: the network's input (C, X, Y).
        pred: its output (C, X, Y), a label map (1, X, Y) of a segmentation.
        label: the target, as ``pred``.
        volume: whether it is an axial slice of a volume.
    """

    name: str
    image: np.ndarray
    pred: np.ndarray
    label: np.ndarray | None = None
    volume: bool = False


def segmentation_row(example: Example) -> list[Tile]:
    """Image, label, and prediction with the label's outline, side by side."""
    picture = upright(example.image, example.volume)
    labels = repeated(axial_slice(example.pred[0], 0, example.volume))
    cells = [Tile(picture, f"{example.name}: image")]
    if example.label is None:
        return [*cells, Tile(overlay_labels(picture, labels), "prediction")]
    truth = repeated(axial_slice(example.label[0], 0, example.volume))
    return [
        *cells,
        Tile(overlay_labels(picture, truth), "label"),
        Tile(overlay_labels(picture, labels, truth), "prediction, label in white"),
    ]


def reconstruction_row(example: Example) -> list[Tile]:
    """Input, target unless it is the input, output and its error side by side, in the target's window."""
    target = example.image if example.label is None else example.label
    low, high = (float(bound) for bound in np.percentile(target[:1], (1, 99.5)))
    named = {f"{example.name}: input": example.image}
    if target is not example.image and not np.array_equal(target, example.image):
        named["target"] = target
    named["output"] = example.pred
    cells = [Tile(upright(image, example.volume, low, high), name) for name, image in named.items()]
    error = np.abs(example.pred[:1] - target[:1]) * ERROR_GAIN
    return [*cells, Tile(upright(error, example.volume, 0.0, high - low), f"error x {ERROR_GAIN:g}")]


def classification_tile(picture: np.ndarray, predicted: str, truth: str | None) -> Tile:
    """A picture under its true and its predicted class, green where they agree."""
    if truth is None:
        return Tile(picture, f"predicted {predicted}")
    return Tile(picture, f"is {truth}, predicted {predicted}", RIGHT_COLOUR if truth == predicted else WRONG_COLOUR)


def upright(image: np.ndarray, volume: bool, low: float | None = None, high: float | None = None) -> np.ndarray:
    """An image (C, X, Y) as RGB (H, W, 3) between two values, by default its 1st and 99.5th percentile.

    Of other channels than 3, and of a slice of a volume, the first one is shown.
    """
    shown = np.nan_to_num(image if len(image) == 3 and not volume else image[:1])
    if low is None or high is None:
        low, high = (float(bound) for bound in np.percentile(shown, (1, 99.5)))
    slices = [repeated(axial_slice(channel, 0, volume)) for channel in shown]
    pictures = [to_gray_rgb(array, low, high)[..., 0] for array in slices]
    return np.stack([pictures[i % len(pictures)] for i in range(3)], -1)


def example_grid(note: str, rows: Sequence[Sequence[Tile]], tile: int = TILE) -> np.ndarray:
    """Rows of pictures under their captions, all on one grid.

    Args:
        note: a line above all.
        rows: the pictures.
        tile: pixels that the longer side of a picture has at most, about.

    Returns:
        (H, W, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    cells = [[_fitted(one.picture, tile) for one in row] for row in rows]
    columns = max(len(row) for row in rows)
    font = ImageFont.load_default(12)
    width = max(picture.width for row in cells for picture in row)
    captions = [one.caption for row in rows for one in row]
    heights = [max(picture.height for picture in row) + (LINE if any(captions) else 0) for row in cells]
    length = max((width + GAP) * columns - GAP, round(font.getlength(note)))
    grid = Image.new("RGB", (length + 2 * MARGIN, MARGIN + LINE + sum(heights) + GAP * len(rows) + MARGIN - GAP))
    draw = ImageDraw.Draw(grid)
    draw.text((MARGIN, MARGIN - 3), note, font=font, fill=NOTE_COLOUR)
    top = MARGIN + LINE
    for row, pictures, height in zip(rows, cells, heights):
        for i, (one, picture) in enumerate(zip(row, pictures)):
            left = MARGIN + i * (width + GAP)
            following = (j for j in range(i + 1, len(row)) if row[j].caption)
            room = (next(following, columns) - i) * (width + GAP) - GAP
            draw.text((left, top), _shortened(one.caption, room, font), font=font, fill=one.colour)
            grid.paste(picture, (left, top + height - max(p.height for p in pictures)))
        top += height + GAP
    return np.asarray(grid)


def _fitted(picture: np.ndarray, tile: int) -> Image.Image:
    """A picture as an image whose longer side has at most about ``tile`` pixels."""
    from PIL import Image

    image = Image.fromarray(picture.round().astype(np.uint8))
    longer = max(image.size)
    if longer <= 1.5 * tile:
        return image
    width, height = (max(1, round(side * tile / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def repeated(array: np.ndarray) -> np.ndarray:
    """A small slice (H, W) with its pixels repeated, to about the size of a tile."""
    factor = max(1, round(TILE / max(array.shape)))
    return array.repeat(factor, 0).repeat(factor, 1)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A caption that fits: the middle of what is too long is left out."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 2, -1):
        head = kept // 3
        short = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
        if font.getlength(short) <= width:
            return short
    return text[:3]
