"""Features and latents of many images as points in the plane."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..metrics import NO_CLASS
from .slices import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2000
FEWEST_POINTS = 5
PERPLEXITY = 30.0
_logger = logging.getLogger(__name__)


def enough_points(name: str, count: int) -> bool:
    """Whether ``count`` points make a t-SNE; that the picture ``name`` is left out is logged."""
    if count < FEWEST_POINTS:
        _logger.info("%s is left out: %d images, a t-SNE needs %d", name, count, FEWEST_POINTS)
    return count >= FEWEST_POINTS


def plot_tsne(
    latents: torch.Tensor,
    class_labels: torch.Tensor | None = None,
    generated: torch.Tensor | None = None,
    class_names: Sequence[str] | None = None,
    noun: str = "images",
    dims: int = 2,
) -> Figure:
    """A t-SNE (van der Maaten and Hinton 2008) with a colour per class; the same points give the same picture.

    Of more than 2000 points every n-th is drawn.

    Args:
        latents: (N, F), features or flattened latents of images.
        class_labels: (N,), -1 where an image has none.
        generated: (N,) true for generated images, drawn as crosses above the dots of real ones.
        class_names: names of the classes 0, 1, ... for the legend.
        noun: what the points are, for the title.
        dims: 2 for points in the plane, 3 for points in space.

    Returns:
        A figure of 800 x 600 pixels at 100 dpi.

    Raises:
        ValueError: If there are fewer than 5 points or 2 values per point, or the labels are not as many as the points.
    """
    from matplotlib.figure import Figure

    count = len(latents)
    if latents.ndim != 2 or count < FEWEST_POINTS or latents.shape[1] < 2:
        raise ValueError(f"latents are {tuple(latents.shape)}, t-SNE needs (N, F) with N >= {FEWEST_POINTS}, F >= 2")
    classes = torch.full((count,), NO_CLASS) if class_labels is None else class_labels
    made = torch.zeros(count, dtype=torch.bool) if generated is None else generated
    if dims not in (2, 3):
        raise ValueError(f"dims is {dims}; expected 2 or 3 for a t-SNE: set tsne_dims")
    if not count == len(classes) == len(made):
        raise ValueError(f"there are {count} latents, {len(classes)} class labels, and {len(made)} marks of generated")
    highest = int(classes.max())
    if class_names is not None and highest >= len(class_names):
        raise ValueError(f"there are {len(class_names)} class names and a class label {highest}")
    shown = torch.linspace(0, count - 1, min(count, MOST_POINTS)).round().long()
    points, classes, made = _embed(latents[shown], dims), classes[shown], made[shown]

    figure = Figure(figsize=(8, 6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d" if dims == 3 else None)
    for is_made in (False, True):
        for c in classes.unique().tolist():
            chosen = (classes == c) & (made == is_made)
            if not chosen.any():
                continue
            name = "" if c == NO_CLASS else f"class {c}" if class_names is None else class_names[c]
            kind = "" if generated is None else "generated" if is_made else "real"
            axes.scatter(
                *points[chosen].T,
                s=22 if is_made else 14,
                color=_colour(c, is_made),
                marker="x" if is_made else "o",
                alpha=0.9 if is_made else 0.4,
                linewidths=1.2 if is_made else 0,
                label=", ".join(word for word in (name, kind) if word) or noun,
            )
    axes.set_xticks([])
    axes.set_yticks([])
    if dims == 3:
        axes.set_zticks([])
    axes.set_title(f"t-SNE of {len(shown)} of {count} {noun}" if len(shown) < count else f"t-SNE of {count} {noun}")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _embed(latents: torch.Tensor, dims: int = 2) -> torch.Tensor:
    """Points (N, F) in the plane or in space (N, dims)."""
    from sklearn.manifold import TSNE

    tsne = TSNE(dims, perplexity=min(PERPLEXITY, (len(latents) - 1) / 3), init="pca", random_state=0)
    return torch.from_numpy(tsne.fit_transform(latents.double().numpy()))


def _colour(c: int, is_made: bool) -> tuple[float, ...]:
    """Colour of a class; without a class real points are gray and generated ones red."""
    if c == NO_CLASS:
        return tuple(COLOURS[0] / 255) if is_made else (0.5, 0.5, 0.5)
    return tuple(COLOURS[c % len(COLOURS)] / 255)
