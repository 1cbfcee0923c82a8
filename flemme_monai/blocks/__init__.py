"""The vocabulary of one stage: blocks, attention, resampling. Nothing here knows a whole network."""

from .area import area_resize, linear_resize, resized_like
from .attention import ChannelAttention, EfficientChannelAttention, SpatialSelfAttention
from .bottleneck import VectorBottleneck
from .context import (
    INJECTIONS,
    BlockInjection,
    ClassContext,
    ContextFusion,
    CrossAttention,
    FiLM,
    ImageContext,
    PositionContext,
    TimestepEmbedding,
    injection,
)
from .conv import ConvBlock, DoubleConvBlock, ResConvBlock
from .layers import ChannelLayerNorm, Linear, PositionEmbedding, keeps_bias, make_norm
from .mamba import MambaMixer, SelectiveScan, StateSpaceDuality
from .mednext import MedNeXtBlock, MedNeXtDown, MedNeXtUp
from .metaformer import MLP, MetaFormerBlock
from .resampling import InterpolateDown, InterpolateUp, PatchExpand, PoolDown, StridedConv, TransposedConv
from .scan_order import SCANS, num_orders, scan_orders
from .stage import ConditionEmbeddings, ResidualSequential, Stage
from .swin import SwinBlock, WindowAttention
from .vit import SpatialReductionAttention, ViTBlock

__all__ = [
    "INJECTIONS",
    "MLP",
    "SCANS",
    "BlockInjection",
    "ChannelAttention",
    "ChannelLayerNorm",
    "ClassContext",
    "ConditionEmbeddings",
    "ContextFusion",
    "ConvBlock",
    "CrossAttention",
    "DoubleConvBlock",
    "EfficientChannelAttention",
    "FiLM",
    "ImageContext",
    "InterpolateDown",
    "InterpolateUp",
    "Linear",
    "MambaMixer",
    "MedNeXtBlock",
    "MedNeXtDown",
    "MedNeXtUp",
    "MetaFormerBlock",
    "PatchExpand",
    "PoolDown",
    "PositionContext",
    "PositionEmbedding",
    "ResConvBlock",
    "ResidualSequential",
    "SelectiveScan",
    "SpatialReductionAttention",
    "SpatialSelfAttention",
    "Stage",
    "StateSpaceDuality",
    "StridedConv",
    "SwinBlock",
    "TimestepEmbedding",
    "TransposedConv",
    "VectorBottleneck",
    "ViTBlock",
    "WindowAttention",
    "area_resize",
    "injection",
    "keeps_bias",
    "linear_resize",
    "make_norm",
    "num_orders",
    "resized_like",
    "scan_orders",
]
