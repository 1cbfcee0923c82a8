"""The vocabulary of one stage: blocks, attention, resampling. Nothing here knows a whole network."""

from .area import area_resize
from .attention import ChannelAttention, EfficientChannelAttention, SpatialSelfAttention
from .context import (
    INJECTIONS,
    BlockInjection,
    ClassContext,
    Combine,
    CrossAttention,
    ImageContext,
    Modulation,
    PositionContext,
    StepEmbedding,
    injection,
)
from .conv import ConvBlock, DoubleConvBlock, ResConvBlock
from .embedding import PositionEmbedding
from .linear import Linear
from .mamba import MambaBlock, MambaMixer, SelectiveScan, StateSpaceDuality
from .mlp import MLP
from .norm import ChannelLayerNorm, make_norm
from .resampling import InterpolateDown, InterpolateUp, PatchExpand, PoolDown, StridedConv, TransposedConv
from .scan_order import SCANS, num_orders, scan_orders
from .stage import Shortcut, Stage
from .swin import SwinBlock, WindowAttention
from .vit import GlobalAttention, ViTBlock

__all__ = [
    "INJECTIONS",
    "MLP",
    "SCANS",
    "BlockInjection",
    "ChannelAttention",
    "ChannelLayerNorm",
    "ClassContext",
    "Combine",
    "ConvBlock",
    "CrossAttention",
    "DoubleConvBlock",
    "EfficientChannelAttention",
    "GlobalAttention",
    "ImageContext",
    "InterpolateDown",
    "InterpolateUp",
    "Linear",
    "MambaBlock",
    "MambaMixer",
    "Modulation",
    "PatchExpand",
    "PoolDown",
    "PositionContext",
    "PositionEmbedding",
    "ResConvBlock",
    "SelectiveScan",
    "Shortcut",
    "SpatialSelfAttention",
    "Stage",
    "StateSpaceDuality",
    "StepEmbedding",
    "StridedConv",
    "SwinBlock",
    "TransposedConv",
    "ViTBlock",
    "WindowAttention",
    "area_resize",
    "injection",
    "make_norm",
    "num_orders",
    "scan_orders",
]
