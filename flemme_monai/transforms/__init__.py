"""Transforms that MONAI lacks: loading, checking, resizing a case, undersampling k-space, outputs of several parts."""

from .case import CheckCased
from .crop import RandAffineCropd
from .final import FinalOutputd
from .load import EnsureChannelAxisd, LoadCased, LoadImageFilesd, LoadLabeld, OrientVolumesd
from .resize import ResizeImaged
from .spread import SplitSpreadd
from .undersample import UndersampleKspaced

__all__ = [
    "CheckCased",
    "EnsureChannelAxisd",
    "FinalOutputd",
    "LoadCased",
    "LoadImageFilesd",
    "LoadLabeld",
    "OrientVolumesd",
    "RandAffineCropd",
    "ResizeImaged",
    "SplitSpreadd",
    "UndersampleKspaced",
]
