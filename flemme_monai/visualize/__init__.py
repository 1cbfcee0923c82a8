"""Pictures that ``monai.visualize`` lacks: cases with their predictions, grids, curves, t-SNE, as arrays and figures.

``flemme_monai.io`` writes them.
"""

from .cases import ERROR_GAIN, PICTURES, reconstruction_picture, segmentation_picture
from .classes import classification_picture, confusion_picture
from .curves import plot_curves
from .grids import captioned_rows, denoising_frames, image_grid, sample_tile, there_and_back
from .slices import label_map, middle_slice, overlay_labels, plain_image
from .tsne import FEWEST_POINTS, plot_tsne

__all__ = [
    "ERROR_GAIN",
    "FEWEST_POINTS",
    "PICTURES",
    "captioned_rows",
    "classification_picture",
    "confusion_picture",
    "denoising_frames",
    "image_grid",
    "label_map",
    "middle_slice",
    "overlay_labels",
    "plain_image",
    "plot_curves",
    "plot_tsne",
    "reconstruction_picture",
    "sample_tile",
    "segmentation_picture",
    "there_and_back",
]
