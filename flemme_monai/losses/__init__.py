"""Losses that MONAI lacks."""

from .pyramid import pyramid_loss

__all__ = ["pyramid_loss"]
