"""Backbones: a block family and a connection make an encoder-decoder."""

from .connections import DenseConnection, NoConnection, SkipConnection
from .conv import CNN, ConvFamily, DNet, UNet
from .encoder_decoder import BackboneOutput, EncoderDecoder
from .family import BlockFamily
from .swin import Swin, SwinD, SwinFamily, SwinU

__all__ = [
    "CNN",
    "BackboneOutput",
    "BlockFamily",
    "ConvFamily",
    "DNet",
    "DenseConnection",
    "EncoderDecoder",
    "NoConnection",
    "SkipConnection",
    "Swin",
    "SwinD",
    "SwinFamily",
    "SwinU",
    "UNet",
]
