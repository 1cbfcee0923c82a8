"""Backbones: a block family and a connection make an encoder-decoder."""

from importlib import import_module
from typing import Any

from .adapted import Adapted
from .backbone import Backbone, BackboneOutput, DecoderOutput, ImageEncoder, check_image
from .conditioning import ConditionEmbedder, ConditioningConfig
from .connections import Connection, DenseConnection, NoConnection, SkipConnection
from .conv import CNN, ConvFamily, DNet, UNet
from .encoder_decoder import Decoder, Encoder, EncoderDecoder
from .family import BlockFamily
from .layout import StageLayout
from .mednext import MedNeXt, MedNeXtD, MedNeXtFamily, MedNeXtU
from .sequence import SequenceFamily
from .swin import Swin, SwinD, SwinFamily, SwinU
from .vit import ViT, ViTD, ViTFamily, ViTU
from .vmamba import MambaFamily, VMamba, VMambaD, VMambaU

# its name in bundles and in network.json of version 0.4.0
Conditioning = ConditioningConfig

__all__ = [
    "CNN",
    "Adapted",
    "Backbone",
    "BackboneOutput",
    "BlockFamily",
    "ConditionEmbedder",
    "ConditioningConfig",
    "Connection",
    "ConvFamily",
    "DNet",
    "Decoder",
    "DecoderOutput",
    "DenseConnection",
    "Encoder",
    "EncoderDecoder",
    "ImageEncoder",
    "MambaFamily",
    "MedNeXt",
    "MedNeXtD",
    "MedNeXtFamily",
    "MedNeXtU",
    "NoConnection",
    "SequenceFamily",
    "SkipConnection",
    "StageLayout",
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
    "check_image",
]


def __getattr__(name: str) -> Any:
    """A published network by its name, as if it were here; they are imported when one is asked for."""
    networks = import_module(".networks", __name__)
    if name in networks.__all__:
        return getattr(networks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
