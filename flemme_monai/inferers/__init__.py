"""Inferers that MONAI lacks: windows of large volumes and for 2D networks, means of networks, latents."""

from .averaging import Ensemble, trained_ensemble
from .decoding import DecodingInferer
from .interpolation import InterpolationInferer, latents_of
from .window import WindowInferer

# its name in bundles of version 0.4.0
BetweenInferer = InterpolationInferer

__all__ = [
    "DecodingInferer",
    "Ensemble",
    "InterpolationInferer",
    "WindowInferer",
    "latents_of",
    "trained_ensemble",
]
