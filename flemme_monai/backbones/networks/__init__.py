"""Published networks in the two halves of a backbone."""

# A
from .attention_unet import AttentionUNet
from .r2unet import R2AttentionUNet, R2UNet
from .unet import ClassicUNet, SCSENet, SimpleUNet

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
]
