"""Published networks in the two halves of a backbone."""

# A
from .unet import ClassicUNet

# B

# C

# D
# isort: split
from .lrfeanet import LRFEANet
from .mepdnet import MEPDNet
from .shiftnet import LightNet, OneNet

# E

__all__ = [
    "ClassicUNet",
    "LRFEANet",
    "LightNet",
    "MEPDNet",
    "OneNet",
]
