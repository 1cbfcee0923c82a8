"""Pictures of what a classification says of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..metrics import ClassifiedCase, names_of_classes
from .grids import CAPTION_COLOUR
from .slices import enlarge, is_volume, middle_slice, to_gray_rgb

SMALLEST = 128
RIGHT_COLOUR, WRONG_COLOUR = (90, 220, 90), (255, 90, 90)


def classification_picture(
    images: Sequence[np.ndarray], predicted: Sequence[str], truths: Sequence[str | None], columns: int = 8
) -> np.ndarray:
    """Images with their predicted class above: green where it is right, red with the true class below it where not.

    Args:
        images: gray values (H, W) upright, such as ``middle_slice`` gives.
        predicted: name of each one's predicted class.
        truths: name of each one's true class, None where it is unknown; its prediction is then gray.
        columns: images side by side.

    Returns:
        An RGB picture (H, W, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    gap, line = 4, 16
    pictures = [to_gray_rgb(enlarge(image, SMALLEST)).round().astype(np.uint8) for image in images]
    height = max(len(picture) for picture in pictures) + 2 * line
    width = max(picture.shape[1] for picture in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", ((width + gap) * columns - gap, (height + gap) * rows - gap))
    font = ImageFont.load_default(12)
    for i, (picture, name, truth) in enumerate(zip(pictures, predicted, truths, strict=True)):
        tile = Image.new("RGB", (width, height))  # cuts a name that is too long
        draw = ImageDraw.Draw(tile)
        colour = CAPTION_COLOUR if truth is None else RIGHT_COLOUR if truth == name else WRONG_COLOUR
        draw.text((3, 1), name, font=font, fill=colour)
        if truth not in (None, name):
            draw.text((3, 1 + line), f"is {truth}", font=font, fill=colour)
        tile.paste(Image.fromarray(picture), (0, 2 * line))
        grid.paste(tile, (i % columns * (width + gap), i // columns * (height + gap)))
    return np.asarray(grid)


class ClassSheet:
    """A picture of some cases of each class: a class's are those of its true class, or predicted where that is unknown.

    Wrong ones come first, so that the few there are can be seen.

    Args:
        num_images: number of cases in the picture, an equal number per class.
    """

    def __init__(self, num_images: int = 48) -> None:
        self.num_images = num_images
        self._kept: dict[int, list[tuple[ClassifiedCase, np.ndarray]]] = {}

    def add(self, case: ClassifiedCase, image: torch.Tensor) -> None:
        """Show a case unless its class has enough; ``image`` is (C, *S)."""
        kept = self._kept.setdefault(case.predicted if case.truth is None else case.truth, [])
        kept.append((case, middle_slice(image, is_volume(image))))
        kept.sort(key=lambda pair: not pair[0].wrong)
        del kept[max(self.num_images // len(case.probabilities), 1) :]

    def picture(self, class_names: Sequence[str] | None = None) -> np.ndarray:
        """The picture (H, W, 3), uint8, of what was added; names as for :func:`names_of_classes`."""
        shown = [pair for label in sorted(self._kept) for pair in self._kept[label]][: self.num_images]
        cases = [case for case, _ in shown]
        names = names_of_classes(cases, class_names, len(cases[0].probabilities))
        return classification_picture(
            [image for _, image in shown],
            [names[case.predicted] for case in cases],
            [None if case.truth is None else names[case.truth] for case in cases],
        )


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A confusion matrix: counts in the cells, shaded by their share of the true class.

    scikit-learn's ``ConfusionMatrixDisplay`` shades by what it writes: counts, in which a rare class looks unknown.

    Args:
        matrix: counts (K, K); rows are true, columns predicted classes.
        names: one name per class.

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
