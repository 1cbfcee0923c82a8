"""Self-supervised pretraining: an encoder learns from images without labels, and is a training's beginning."""

from .batch import METHODS, PretrainingBatch, chosen
from .checkpoint import PretrainingCheckpoint
from .features import feature_map, pooled_features
from .in_batch import BarlowTwins, BarlowTwinsLoss, SimCLR
from .info_nce import InfoNCE
from .masked import MaskedImageModel, MaskedLoss
from .moco import MoCo
from .negatives import allowed_negatives
from .two_views import ProjectionHead
from .watch import WatchFeatures

__all__ = [
    "METHODS",
    "BarlowTwins",
    "BarlowTwinsLoss",
    "InfoNCE",
    "MaskedImageModel",
    "MaskedLoss",
    "MoCo",
    "PretrainingBatch",
    "PretrainingCheckpoint",
    "ProjectionHead",
    "SimCLR",
    "WatchFeatures",
    "allowed_negatives",
    "chosen",
    "feature_map",
    "pooled_features",
]
