"""Metrics that MONAI lacks: overlap with a convention for absent classes; of generated images, also of few."""

from .classification import class_accuracy, class_scores, classifier_outputs
from .comparison import NO_CLASS, ImageSet, Score, compare_samples, image_set
from .distribution import fid, kid, mmd
from .manifold import PrecisionRecall, precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised
from .overlap import AbsentClassVolume, OverlapMetric

__all__ = [
    "NO_CLASS",
    "AbsentClassVolume",
    "ImageSet",
    "Neighbours",
    "OverlapMetric",
    "PrecisionRecall",
    "Score",
    "class_accuracy",
    "class_scores",
    "classifier_outputs",
    "compare_samples",
    "fid",
    "image_set",
    "kid",
    "mmd",
    "nearest_neighbours",
    "precision_recall",
    "standardised",
]
