"""Published networks in the two halves of a backbone."""

# A
# B
from .segnet import SegNet
from .ternausnet import TernausNet
from .u2net import U2Net, U2NetSmall
from .unet import ClassicUNet

# C

# D

# E

__all__ = [
    "ClassicUNet",
    "SegNet",
    "TernausNet",
    "U2Net",
    "U2NetSmall",
]
