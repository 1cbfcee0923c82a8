"""Metrics that MONAI lacks: overlap with a convention for absent classes; of generated images, also of few."""

from .case_table import per_case, summarise
from .classification import (
    ClassifiedCase,
    class_accuracy,
    class_scores,
    classified_case,
    classifier_outputs,
    names_of_classes,
)
from .comparison import NO_CLASS, ImageSet, Score, compare_samples, image_set
from .distribution import fid, kid, mmd
from .manifold import PrecisionRecall, precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised
from .overlap import AbsentClassVolume, OverlapMetric
from .surface import SurfaceMetric

__all__ = [
    "NO_CLASS",
    "AbsentClassVolume",
    "ClassifiedCase",
    "ImageSet",
    "Neighbours",
    "OverlapMetric",
    "PrecisionRecall",
    "Score",
    "SurfaceMetric",
    "class_accuracy",
    "class_scores",
    "classified_case",
    "classifier_outputs",
    "compare_samples",
    "fid",
    "image_set",
    "kid",
    "mmd",
    "names_of_classes",
    "nearest_neighbours",
    "per_case",
    "precision_recall",
    "standardised",
    "summarise",
]
