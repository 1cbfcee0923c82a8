"""Metrics that MONAI lacks: overlap with a convention for absent classes, minutes saved; of generated images."""

from .case_table import per_case, summarise
from .classification import (
    ClassifiedCase,
    class_accuracy,
    class_scores,
    classified_case,
    classifier_outputs,
    names_of_classes,
)
from .clustering import cluster_scores
from .comparison import NO_CLASS, ImageSet, Score, compare_samples, image_set
from .cross_entropy import BinaryCrossEntropy
from .distribution import fid, kid, mmd
from .instances import AdjustedRandIndex, SoftDice
from .manifold import DensityCoverage, PrecisionRecall, density_coverage, one_neighbour_accuracy, precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised
from .overlap import AbsentClassVolume, OverlapMetric
from .representation import alignment, feature_spread, neighbour_recall, uniformity
from .structural_similarity import StructuralSimilarity
from .surface import HausdorffDistance, SurfaceDice, SurfaceDistance
from .time_saved import Minutes, TimeSaved, minutes_of

__all__ = [
    "NO_CLASS",
    "AbsentClassVolume",
    "AdjustedRandIndex",
    "BinaryCrossEntropy",
    "ClassifiedCase",
    "DensityCoverage",
    "HausdorffDistance",
    "ImageSet",
    "Minutes",
    "Neighbours",
    "OverlapMetric",
    "PrecisionRecall",
    "Score",
    "SoftDice",
    "StructuralSimilarity",
    "SurfaceDice",
    "SurfaceDistance",
    "TimeSaved",
    "alignment",
    "class_accuracy",
    "class_scores",
    "classified_case",
    "classifier_outputs",
    "cluster_scores",
    "compare_samples",
    "density_coverage",
    "feature_spread",
    "fid",
    "image_set",
    "kid",
    "minutes_of",
    "mmd",
    "names_of_classes",
    "nearest_neighbours",
    "neighbour_recall",
    "one_neighbour_accuracy",
    "per_case",
    "precision_recall",
    "standardised",
    "summarise",
    "uniformity",
]
