"""Transforms that MONAI lacks: loading, checking, resizing a case, undersampling k-space, label maps, outputs,
colours, photographs of a screen."""

from functools import partial

from .case import CheckCased
from .colour import RandHueSaturationd
from .crop import RandAffineCropd
from .foreground import Content
from .labels import KeepLargestd, LabelMapd, LoadPredictiond
from .load import EnsureChannelAxisd, LoadImageAndLabeld, LoadImageFilesd, LoadLabeld, OrientVolumesd
from .mean_std import SampledLabelMapd, SplitMeanStdd
from .noise import AddNoised
from .output import FirstOutputd
from .resize import ResizeCased, ResizeImaged, whole_image_size
from .screen_photo import RandScreenPhotod, ScreenPhoto
from .spacing import ResampleSpacingd
from .targets import EnlargeImaged, JoinTargetd, SplitTargetd
from .undersample import UndersampleKspaced

# their names in bundles of version 0.4.0
FinalOutputd = FirstOutputd
LoadCased = LoadImageAndLabeld
SplitSpreadd = partial(SplitMeanStdd, std_key="spread")

__all__ = [
    "AddNoised",
    "CheckCased",
    "Content",
    "EnlargeImaged",
    "EnsureChannelAxisd",
    "FirstOutputd",
    "JoinTargetd",
    "KeepLargestd",
    "LabelMapd",
    "LoadImageAndLabeld",
    "LoadImageFilesd",
    "LoadLabeld",
    "LoadPredictiond",
    "OrientVolumesd",
    "RandAffineCropd",
    "RandHueSaturationd",
    "RandScreenPhotod",
    "ResampleSpacingd",
    "ResizeCased",
    "ResizeImaged",
    "SampledLabelMapd",
    "ScreenPhoto",
    "SplitMeanStdd",
    "SplitTargetd",
    "UndersampleKspaced",
    "whole_image_size",
]
