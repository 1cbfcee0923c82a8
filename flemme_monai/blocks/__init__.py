"""The vocabulary of one stage: blocks, attention, resampling. Nothing here knows a whole network."""

from .area import area_resize, linear_resize, resized_like
from .attention import (
    CHANNEL_ATTENTION,
    ChannelAttention,
    EfficientChannelAttention,
    SpatialSelfAttention,
    UnsharedChannelAttention,
    channel_attention,
)
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
    VectorContext,
    injection,
)
from .conv import ConvBlock, DoubleConvBlock, ResConvBlock
from .fourier import FourierAttention, FourierFusion
from .layers import (
    NORMS,
    ChannelFirst,
    ChannelLayerNorm,
    Linear,
    PositionEmbedding,
    RMSNorm,
    keeps_bias,
    make_norm,
    make_token_norm,
)
from .mamba import MambaMixer, SelectiveScan, StateSpaceDuality
from .mednext import MedNeXtBlock, MedNeXtDown, MedNeXtUp
from .metaformer import MLP, MetaFormerBlock
from .resampling import InterpolateDown, InterpolateUp, PatchExpand, PoolDown, StridedConv, TransposedConv
from .scan_order import SCANS, num_orders, scan_orders
from .stage import ConditionEmbeddings, ResidualSequential, Stage
from .swin import SwinBlock, WindowAttention
from .vit import SpatialReductionAttention, ViTBlock

__all__ = [
    "CHANNEL_ATTENTION",
    "INJECTIONS",
    "MLP",
    "NORMS",
    "SCANS",
    "BlockInjection",
    "ChannelAttention",
    "ChannelFirst",
    "ChannelLayerNorm",
    "ClassContext",
    "ConditionEmbeddings",
    "ContextFusion",
    "ConvBlock",
    "CrossAttention",
    "DoubleConvBlock",
    "EfficientChannelAttention",
    "FiLM",
    "FourierAttention",
    "FourierFusion",
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
    "RMSNorm",
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
    "UnsharedChannelAttention",
    "VectorBottleneck",
    "VectorContext",
    "ViTBlock",
    "WindowAttention",
    "area_resize",
    "channel_attention",
    "injection",
    "keeps_bias",
    "linear_resize",
    "make_norm",
    "make_token_norm",
    "num_orders",
    "resized_like",
    "scan_orders",
]
