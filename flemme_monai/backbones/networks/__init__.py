"""Published networks in the two halves of a backbone."""

# A
from .attention_unet import AttentionUNet
from .r2unet import R2AttentionUNet, R2UNet
from .unet import ClassicUNet, SCSENet, SimpleUNet
from .unet3p import UNet3Plus
from .unetpp import UNetPlusPlus

# B
# isort: split
from .denseunet import DenseUNet
from .hardnet_mseg import HarDNetAlter, HarDNetMSEG
from .hrnet_seg import HRNet
from .segnet import SegNet
from .ternausnet import TernausNet
from .u2net import U2Net, U2NetSmall

# C
# isort: split
from .danet import DANet
from .deeplab import DeepLabV2, DeepLabV3Plus
from .eanet import EANet
from .linknet import CENet, DLinkNet
from .ocnet import OCNet, OCRNet
from .pspnet import PSPNet
from .resunet import ResUNet

# D
# isort: split
from .lrfeanet import LRFEANet
from .shiftnet import LightNet, OneNet

# E

__all__ = [
    "AttentionUNet",
    "CENet",
    "ClassicUNet",
    "DANet",
    "DLinkNet",
    "DeepLabV2",
    "DeepLabV3Plus",
    "DenseUNet",
    "EANet",
    "HRNet",
    "HarDNetAlter",
    "HarDNetMSEG",
    "LRFEANet",
    "LightNet",
    "OCNet",
    "OCRNet",
    "OneNet",
    "PSPNet",
    "R2AttentionUNet",
    "R2UNet",
    "ResUNet",
    "SCSENet",
    "SegNet",
    "SimpleUNet",
    "TernausNet",
    "U2Net",
    "U2NetSmall",
    "UNet3Plus",
    "UNetPlusPlus",
]
