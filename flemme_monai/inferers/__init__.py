"""Inferers that MONAI lacks."""

from .window import WindowInferer

__all__ = ["WindowInferer"]
