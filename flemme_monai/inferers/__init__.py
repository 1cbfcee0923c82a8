"""Inferers that MONAI lacks: windows of volumes for 2D networks, decoding, and interpolation of latents."""

from .decoding import DecodingInferer
from .interpolation import InterpolationInferer, latents_of
from .window import WindowInferer

# its name in bundles of version 0.4.0
BetweenInferer = InterpolationInferer

__all__ = ["DecodingInferer", "InterpolationInferer", "WindowInferer", "latents_of"]
