"""Losses that MONAI lacks, and weighted sums of its own."""

from .dual_term import DualTermLoss
from .pyramid import pyramid_loss
from .terms import LOSSES, CrossEntropy, SegmentationLoss
from .vae import VAELoss

__all__ = ["LOSSES", "CrossEntropy", "DualTermLoss", "SegmentationLoss", "VAELoss", "pyramid_loss"]
