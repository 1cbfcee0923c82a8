"""Losses that MONAI lacks."""

from .pyramid import pyramid_loss
from .vae import VAELoss

__all__ = ["VAELoss", "pyramid_loss"]
