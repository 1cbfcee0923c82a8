"""Published networks in the two halves of a backbone."""

# A
from .unet import ClassicUNet

# B
# isort: split
from .hardnet_mseg import HarDNetAlter, HarDNetMSEG
from .segnet import SegNet
from .ternausnet import TernausNet
from .u2net import U2Net, U2NetSmall

# C

# D
# isort: split
from .lrfeanet import LRFEANet
from .shiftnet import LightNet, OneNet

# E

__all__ = [
    "ClassicUNet",
    "HarDNetAlter",
    "HarDNetMSEG",
    "LRFEANet",
    "LightNet",
    "OneNet",
    "SegNet",
    "TernausNet",
    "U2Net",
    "U2NetSmall",
]
