"""Published networks in the two halves of a backbone."""

# A
from .attention_unet import AttentionUNet
from .r2unet import R2AttentionUNet, R2UNet
from .unet import ClassicUNet, SCSENet, SimpleUNet
from .unet3p import UNet3Plus
from .unetpp import UNetPlusPlus

# B

# C
# isort: split
from .linknet import CENet, DLinkNet

# D
# isort: split
from .lrfeanet import LRFEANet
from .mepdnet import MEPDNet
from .segformer import SegFormer
from .setr import SETR
from .shiftnet import LightNet, OneNet
from .transunet import TransUNet

# E

__all__ = [
    "SETR",
    "AttentionUNet",
    "CENet",
    "ClassicUNet",
    "DLinkNet",
    "LRFEANet",
    "LightNet",
    "MEPDNet",
    "OneNet",
    "R2AttentionUNet",
    "R2UNet",
    "SCSENet",
    "SegFormer",
    "SimpleUNet",
    "TransUNet",
    "UNet3Plus",
    "UNetPlusPlus",
]
