"""Published networks in the two halves of a backbone."""

# A
# B
# C
# D
# E
from .nnunet import PlainConvUNet, ResEncUNet
from .segresnet import SegResNet
from .unet import ClassicUNet
from .unetr import UNETR

__all__ = [
    "UNETR",
    "ClassicUNet",
    "PlainConvUNet",
    "ResEncUNet",
    "SegResNet",
]
