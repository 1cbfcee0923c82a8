"""Backbones: a block family and a connection make an encoder-decoder."""

from .conditioning import Conditioning, Conditions
from .connections import DenseConnection, NoConnection, SkipConnection
from .conv import CNN, ConvFamily, DNet, UNet
from .decoder import Decoder
from .encoder import Encoder
from .encoder_decoder import EncoderDecoder
from .family import BlockFamily
from .output import BackboneOutput
from .sequence import SequenceFamily
from .swin import Swin, SwinD, SwinFamily, SwinU
from .vit import ViT, ViTD, ViTFamily, ViTU
from .vmamba import MambaFamily, VMamba, VMambaD, VMambaU

__all__ = [
    "CNN",
    "BackboneOutput",
    "BlockFamily",
    "Conditioning",
    "Conditions",
    "ConvFamily",
    "DNet",
    "Decoder",
    "DenseConnection",
    "Encoder",
    "EncoderDecoder",
    "MambaFamily",
    "NoConnection",
    "SequenceFamily",
    "SkipConnection",
    "Swin",
    "SwinD",
    "SwinFamily",
    "SwinU",
    "UNet",
    "VMamba",
    "VMambaD",
    "VMambaU",
    "ViT",
    "ViTD",
    "ViTFamily",
    "ViTU",
]
