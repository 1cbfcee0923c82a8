"""Published networks in the two halves of a backbone."""

# A
# B
# C
# D
# E
from .nnunet import PlainConvUNet, ResEncUNet
from .unet import ClassicUNet

__all__ = [
    "ClassicUNet",
    "PlainConvUNet",
    "ResEncUNet",
]
