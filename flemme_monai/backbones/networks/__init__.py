"""Published networks in the two halves of a backbone."""

# A
from .attention_unet import AttentionUNet
from .r2unet import R2AttentionUNet, R2UNet
from .unet import ClassicUNet, SCSENet, SimpleUNet
from .unet3p import UNet3Plus
from .unetpp import UNetPlusPlus

# B

# C

# D

# E

__all__ = [
    "AttentionUNet",
    "ClassicUNet",
    "R2AttentionUNet",
    "R2UNet",
    "SCSENet",
    "SimpleUNet",
    "UNet3Plus",
    "UNetPlusPlus",
]
