"""Published networks in the two halves of a backbone."""

from .attention_unet import AttentionUNet
from .csnet import CSNet
from .danet import DANet
from .deeplab import DeepLabV2, DeepLabV3Plus
from .denseunet import DenseUNet
from .eanet import EANet
from .fancyunet import FancyUNet
from .hardnet_mseg import HarDNetAlter, HarDNetMSEG
from .hrnet_seg import HRNet
from .linknet import CENet, DLinkNet
from .lrfeanet import LRFEANet
from .mepdnet import MEPDNet
from .multiresunet import MultiResUNet
from .nnunet import PlainConvUNet, ResEncUNet
from .ocnet import OCNet, OCRNet
from .pspnet import PSPNet
from .r2unet import R2AttentionUNet, R2UNet
from .resunet import ResUNet
from .segformer import SegFormer
from .segnet import SegNet
from .segresnet import SegResNet
from .setr import SETR
from .shiftnet import LightNet, OneNet
from .ternausnet import TernausNet
from .transunet import TransUNet
from .u2net import U2Net, U2NetSmall
from .unet import ClassicUNet, SCSENet, SimpleUNet
from .unet3p import UNet3Plus
from .unetpp import UNetPlusPlus
from .unetr import UNETR
from .unext import UNeXt

__all__ = [
    "SETR",
    "UNETR",
    "AttentionUNet",
    "CENet",
    "CSNet",
    "ClassicUNet",
    "DANet",
    "DLinkNet",
    "DeepLabV2",
    "DeepLabV3Plus",
    "DenseUNet",
    "EANet",
    "FancyUNet",
    "HRNet",
    "HarDNetAlter",
    "HarDNetMSEG",
    "LRFEANet",
    "LightNet",
    "MEPDNet",
    "MultiResUNet",
    "OCNet",
    "OCRNet",
    "OneNet",
    "PSPNet",
    "PlainConvUNet",
    "R2AttentionUNet",
    "R2UNet",
    "ResEncUNet",
    "ResUNet",
    "SCSENet",
    "SegFormer",
    "SegNet",
    "SegResNet",
    "SimpleUNet",
    "TernausNet",
    "TransUNet",
    "U2Net",
    "U2NetSmall",
    "UNeXt",
    "UNet3Plus",
    "UNetPlusPlus",
]
