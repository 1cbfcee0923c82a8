"""Transforms that MONAI lacks: loading a case, undersampling k-space, the final output of a hierarchical network."""

from .final import FinalOutputd
from .load import LoadCased
from .undersample import UndersampleKspaced

__all__ = ["FinalOutputd", "LoadCased", "UndersampleKspaced"]
