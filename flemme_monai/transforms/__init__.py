"""Transforms that MONAI lacks: loading and resizing a case, undersampling k-space, outputs of several parts."""

from .final import FinalOutputd
from .load import LoadCased
from .resize import ResizeImaged
from .spread import SplitSpreadd
from .undersample import UndersampleKspaced

__all__ = ["FinalOutputd", "LoadCased", "ResizeImaged", "SplitSpreadd", "UndersampleKspaced"]
