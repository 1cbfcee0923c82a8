"""Pictures that ``monai.visualize`` lacks: cases with their predictions, grids, curves, t-SNE, as arrays and figures.

``flemme_monai.io`` writes them.
"""

from .cases import ERROR_GAIN, level_picture, reconstruction_picture, segmentation_picture
from .classes import ClassSheet, classification_picture, confusion_picture
from .curves import plot_curves
from .examples import (
    Example,
    Tile,
    classification_tile,
    example_grid,
    reconstruction_row,
    segmentation_row,
    upright,
)
from .grids import captioned_rows, denoising_frames, image_grid, sample_tile, there_and_back
from .masks import multi_label_picture, multi_label_row, overlay_masks, plain_masks
from .slices import fullest_slice, is_volume, label_map, middle_slice, overlay_errors, overlay_labels, plain_image
from .tsne import enough_points, plot_tsne

PICTURES = {
    "segmentation": segmentation_picture,
    "reconstruction": reconstruction_picture,
    "multi_label": multi_label_picture,
}

__all__ = [
    "ERROR_GAIN",
    "PICTURES",
    "ClassSheet",
    "Example",
    "Tile",
    "captioned_rows",
    "classification_picture",
    "classification_tile",
    "confusion_picture",
    "denoising_frames",
    "enough_points",
    "example_grid",
    "fullest_slice",
    "image_grid",
    "is_volume",
    "label_map",
    "level_picture",
    "middle_slice",
    "multi_label_picture",
    "multi_label_row",
    "overlay_errors",
    "overlay_labels",
    "overlay_masks",
    "plain_image",
    "plain_masks",
    "plot_curves",
    "plot_tsne",
    "reconstruction_picture",
    "reconstruction_row",
    "sample_tile",
    "segmentation_picture",
    "segmentation_row",
    "there_and_back",
    "upright",
]
