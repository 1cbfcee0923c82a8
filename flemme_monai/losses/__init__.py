"""Losses that MONAI lacks, and weighted sums of its own."""

from .alignment import AlignmentLoss, aligned_loss
from .dual_term import DualTermLoss
from .pyramid import pyramid_loss
from .terms import LOSSES, CrossEntropy, SegmentationLoss
from .vae import VAELoss

__all__ = [
    "LOSSES",
    "AlignmentLoss",
    "CrossEntropy",
    "DualTermLoss",
    "SegmentationLoss",
    "VAELoss",
    "aligned_loss",
    "pyramid_loss",
]
