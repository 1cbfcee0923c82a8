"""What the page shows of a case: slices in three planes, masks over them, and a legend."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

import numpy as np

from ..visualize.slices import COLOURS, OPACITY, enlarge, overlay_labels, to_gray_rgb

PLANES = ("axial", "coronal", "sagittal")
_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}
LARGEST = 1024


@dataclass(frozen=True)
class Panel:
    """One picture of a scene.

    Args:
        caption: what it shows.
        image: (*S), of a volume in RAS orientation.
        levels: the values that are black and white.
        masks: where each class is (*S), by the class.
    """

    caption: str
    image: np.ndarray
    levels: tuple[float, float]
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)

    def with_masks(self, caption: str, masks: Mapping[int, np.ndarray]) -> Panel:
        """The same image under masks."""
        return replace(self, caption=caption, masks=masks)


@dataclass(frozen=True)
class Scene:
    """Panels that lie on one grid.

    Args:
        panels: side by side.
        spacing: mm per voxel of each axis of a volume.
        names: of classes that have a colour.
        upright: whether a 2D image is an axial slice of a volume, which is shown as radiologists see it.
    """

    panels: Sequence[Panel]
    spacing: Sequence[float] = (1.0, 1.0, 1.0)
    names: Mapping[int, str] = field(default_factory=dict)
    upright: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of the grid in voxels."""
        return self.panels[0].image.shape

    @property
    def is_volume(self) -> bool:
        """Whether there are slices to choose from."""
        return len(self.shape) == 3

    def depth(self, plane: str) -> int:
        """The number of slices of a plane."""
        return self.shape[_AXIS[plane]] if self.is_volume else 1

    def first_index(self, plane: str) -> int:
        """The slice with most of the masks of the last panel that has some, the middle one without."""
        if not self.is_volume:
            return 0
        others = tuple(axis for axis in range(3) if axis != _AXIS[plane])
        for panel in reversed(self.panels):
            counts = sum(mask.sum(others) for mask in panel.masks.values())
            if np.any(counts):
                return int(np.argmax(counts))
        return self.depth(plane) // 2


def levels_of(image: np.ndarray) -> tuple[float, float]:
    """The values that are shown black and white: the 1st and the 99.5th percentile."""
    low, high = np.percentile(image, (1, 99.5))
    return float(low), float(high)


def plane_slice(array: np.ndarray, plane: str, index: int) -> np.ndarray:
    """A slice (H, W) of a volume (X, Y, Z) in RAS orientation, head or nose up and the patient's right on the left."""
    return np.take(array, index, _AXIS[plane])[::-1, ::-1].T


def pictures(
    scene: Scene, plane: str = "axial", index: int = 0, opacity: float = OPACITY, shown: Collection[int] | None = None
) -> list[tuple[str, np.ndarray]]:
    """Each panel's caption and picture (H, W, 3), uint8.

    Args:
        scene: what is shown.
        plane: of a volume.
        index: the slice; one beyond the last is the last.
        opacity: of masks, from 0 (outlines alone) to 1.
        shown: the classes; None for all.
    """
    index = min(max(int(index), 0), scene.depth(plane) - 1)

    def flat(array: np.ndarray) -> np.ndarray:
        if scene.is_volume:
            return plane_slice(array, plane, index)
        return array[::-1, ::-1].T if scene.upright else array.T

    made = []
    for panel in scene.panels:
        picture = to_gray_rgb(enlarge(flat(panel.image)), *panel.levels)  # (H, W, 3)
        for label, mask in panel.masks.items():
            if shown is None or label in shown:
                labels = np.where(enlarge(flat(mask)), label, 0)
                picture = overlay_labels(picture, labels, opacity=opacity)
        made.append((panel.caption, _in_proportion(picture.round().astype(np.uint8), scene, plane)))
    return made


def _in_proportion(picture: np.ndarray, scene: Scene, plane: str) -> np.ndarray:
    """A slice's picture with square pixels, and no larger than the page shows."""
    from PIL import Image

    rows, columns = (float(s) for s in np.delete(scene.spacing, _AXIS[plane])[::-1]) if scene.is_volume else (1.0, 1.0)
    unit = min(rows, columns)
    height, width = picture.shape[0] * rows / unit, picture.shape[1] * columns / unit
    scale = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def colour_of(label: int) -> str:
    """The colour of a class, as in pictures, for CSS."""
    red, green, blue = COLOURS[(label - 1) % len(COLOURS)].astype(int)
    return f"rgb({red}, {green}, {blue})"


def legend(names: Mapping[int, str]) -> str:
    """HTML of the classes with their colours."""
    entries = (
        f'<span class="legend-entry"><i style="background:{colour_of(label)}"></i>{escape(name)}</span>'
        for label, name in names.items()
    )
    return f'<div class="legend">{"".join(entries)}</div>' if names else ""
