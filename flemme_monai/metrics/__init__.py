"""Metrics that MONAI lacks: overlap with a convention for absent classes; of generated images, also of few."""

from .classifier import class_accuracy, classifier_outputs
from .distribution import fid, kid, mmd
from .manifold import PrecisionRecall, precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised
from .overlap import AbsentClassVolume, OverlapMetric
from .tsne import latent_picture

__all__ = [
    "AbsentClassVolume",
    "Neighbours",
    "OverlapMetric",
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
