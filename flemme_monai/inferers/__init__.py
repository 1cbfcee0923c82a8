"""Inferers that MONAI lacks."""

from .between import BetweenInferer, latents_of
from .decoding import DecodingInferer
from .window import WindowInferer

__all__ = ["BetweenInferer", "DecodingInferer", "WindowInferer", "latents_of"]
