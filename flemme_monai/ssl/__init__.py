"""Pretraining without labels, for any backbone."""

from .features import feature_map, pooled_features
from .masked import MaskedImageModel, MaskedLoss
from .negatives import allowed_negatives
from .watch import WatchFeatures

__all__ = [
    "MaskedImageModel",
    "MaskedLoss",
    "WatchFeatures",
    "allowed_negatives",
    "feature_map",
    "pooled_features",
]
