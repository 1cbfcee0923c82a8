"""The vocabulary of one stage: blocks, attention, resampling. Nothing here knows a whole network."""

from .attention import ChannelAttention, EfficientChannelAttention, SpatialSelfAttention
from .conv import ConvBlock, DoubleConvBlock, ResConvBlock
from .embedding import PositionEmbedding
from .linear import Linear
from .norm import ChannelLayerNorm, make_norm
from .resampling import InterpolateDown, InterpolateUp, PatchExpand, PoolDown, StridedConv, TransposedConv
from .stage import Stage
from .swin import ResSwinBlock, SwinBlock, WindowAttention

__all__ = [
    "ChannelAttention",
    "ChannelLayerNorm",
    "ConvBlock",
    "DoubleConvBlock",
    "EfficientChannelAttention",
    "InterpolateDown",
    "InterpolateUp",
    "Linear",
    "PatchExpand",
    "PoolDown",
    "PositionEmbedding",
    "ResConvBlock",
    "ResSwinBlock",
    "SpatialSelfAttention",
    "Stage",
    "StridedConv",
    "SwinBlock",
    "TransposedConv",
    "WindowAttention",
    "make_norm",
]
