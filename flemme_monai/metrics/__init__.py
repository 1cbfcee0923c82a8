"""Metrics of generated images that MONAI lacks or cannot compute on few images, on features of a trained classifier."""

from .classifier import class_accuracy, classifier_outputs
from .distribution import fid, kid, mmd
from .manifold import PrecisionRecall, precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised
from .tsne import latent_picture

__all__ = [
    "Neighbours",
    "PrecisionRecall",
    "class_accuracy",
    "classifier_outputs",
    "fid",
    "kid",
    "latent_picture",
    "mmd",
    "nearest_neighbours",
    "precision_recall",
    "standardised",
]
