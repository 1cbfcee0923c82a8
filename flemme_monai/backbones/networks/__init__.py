"""Published networks in the two halves of a backbone."""

# A
from .attention_unet import AttentionUNet
from .csnet import CSNet
from .multiresunet import MultiResUNet
from .r2unet import R2AttentionUNet, R2UNet
from .unet import ClassicUNet, SCSENet, SimpleUNet
from .unet3p import UNet3Plus
from .unetpp import UNetPlusPlus
from .unext import UNeXt

# B

# C

# D

# E

__all__ = [
    "AttentionUNet",
    "CSNet",
    "ClassicUNet",
    "MultiResUNet",
    "R2AttentionUNet",
    "R2UNet",
    "SCSENet",
    "SimpleUNet",
    "UNeXt",
    "UNet3Plus",
    "UNetPlusPlus",
]
