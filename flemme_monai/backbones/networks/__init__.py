"""Published networks in the two halves of a backbone."""

# A
from .unet import ClassicUNet

# B

# C

# D

# E

__all__ = [
    "ClassicUNet",
]
