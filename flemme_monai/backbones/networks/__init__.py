"""Published networks in the two halves of a backbone."""

# A
from .unet import ClassicUNet

# B
from .segnet import SegNet

# C

# D

# E

__all__ = [
    "ClassicUNet",
    "SegNet",
]
