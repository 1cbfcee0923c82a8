"""Losses that MONAI lacks, and weighted sums of its own."""

from .alignment import AlignmentLoss, aligned_loss
from .dual_term import DualTermLoss
from .images import IMAGE_LOSSES, ImageLoss
from .joint import JointLoss
from .pyramid import pyramid_loss
from .terms import LOSSES, CrossEntropy, SegmentationLoss
from .vae import VAELoss

__all__ = [
    "IMAGE_LOSSES",
    "LOSSES",
    "AlignmentLoss",
    "CrossEntropy",
    "DualTermLoss",
    "ImageLoss",
    "JointLoss",
    "SegmentationLoss",
    "VAELoss",
    "aligned_loss",
    "pyramid_loss",
]
