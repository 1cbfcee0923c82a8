"""What the families of sequence blocks (transformers, Mamba) share: everything but the block."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from monai.networks.layers.factories import Conv
from torch import nn

from ..blocks import (
    NORMS,
    ChannelFirst,
    ChannelLayerNorm,
    InterpolateUp,
    Linear,
    PatchExpand,
    ResidualSequential,
    Stage,
    StridedConv,
    TransposedConv,
    channel_attention,
    make_token_norm,
)
from .family import BlockFamily, at_level

UP = ("conv", "interpolate")


@dataclass(frozen=True)
class SequenceFamily(BlockFamily):
    """Settings that stages of sequence blocks have in common.

    Args:
        block: the family's block, or with ``double_`` two of them for one, or with ``res_`` two inside one more
            shortcut.
        mlp_ratio: hidden width of the MLP over the block's width; a list is one for each of several hidden layers.
        act: any activation MONAI names.
        dropout: probability of dropping an attention weight or an activation.
        up_mode: ``interpolate`` (linear, after a projection) or ``conv`` (patch expansion).
        norm: of the blocks: ``layer``, ``rms``, ``group``, ``instance``, ``batch`` or None.
        num_groups: groups of a group norm.
        channel_attention: None, ``ca``, ``eca`` or ``eca-ns`` after a stage; one value, or one per level.

    Raises:
        ValueError: If a name is not one of these.
    """

    block: str = ""
    mlp_ratio: float | Sequence[float] = 4.0
    act: str | tuple = "gelu"
    dropout: float = 0.0
    up_mode: str = "interpolate"
    norm: str | None = "layer"
    num_groups: int = 8
    channel_attention: str | Sequence[str | None] | None = None

    use_channels_last: ClassVar[bool] = True
    block_names: ClassVar[tuple[str, ...]]
    positive_int_settings: ClassVar[tuple[str, ...]] = ()  # each one value or one per level, None allowed

    def __post_init__(self) -> None:
        blocks = tuple(prefix + name for name in self.block_names for prefix in ("", "double_", "res_"))
        for name, value, allowed in (("block", self.block, blocks), ("up_mode", self.up_mode, UP)):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
        if self.norm not in NORMS:
            raise ValueError(f"norm is {self.norm!r}; expected one of {', '.join(map(repr, NORMS))}.")
        for name in self.positive_int_settings:
            value = getattr(self, name)
            for n in value if isinstance(value, (list, tuple)) else [value]:
                if n is not None and (not isinstance(n, int) or n < 1):
                    raise ValueError(f"{name} is {value}; expected a whole number above 0, or one per level.")
        ratios = list(self.mlp_ratio) if isinstance(self.mlp_ratio, Sequence) else [self.mlp_ratio]
        if not ratios or min(ratios) <= 0:
            raise ValueError(f"mlp_ratio is {self.mlp_ratio}; expected a number above 0, or one per hidden layer.")

    @property
    def min_latent_positions(self) -> int:
        """An instance norm needs two."""
        return 2 if self.norm == "instance" else 1

    def token_norm(self, spatial_dims: int) -> Callable[[int], nn.Module]:
        """What makes a block's norm of its number of channels."""
        return lambda channels: make_token_norm(self.norm, spatial_dims, channels, self.num_groups)

    @abstractmethod
    def make_block(self, spatial_dims: int, channels: int, level: int, index: int, drop_path: float) -> nn.Module:
        """The block with that index of a stage, (B, *s, channels) to the same."""

    def patch_embedding(
        self, spatial_dims: int, in_channels: int, channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """A linear map of each patch."""
        return StridedConv(spatial_dims, in_channels, channels, patch_size, overlap=False)

    def stage(
        self, spatial_dims: int, in_channels: int, out_channels: int, level: int, drop_path: Sequence[float]
    ) -> Stage:
        """``len(drop_path)`` blocks; a linear map widens the feature after the first of them, or narrows it before."""
        blocks: list[tuple[nn.Module, int]] = []  # each with its injection channels
        if in_channels > out_channels:
            blocks.append((Linear(in_channels, out_channels), 0))
        injection_channels = [min(in_channels, out_channels)] + [out_channels] * (len(drop_path) - 1)
        for i, (width, rate) in enumerate(zip(injection_channels, drop_path)):
            if self.block in self.block_names:
                blocks.append((self.make_block(spatial_dims, width, level, i, rate), width))
            else:
                pair = [self.make_block(spatial_dims, width, level, index, rate) for index in (0, 1)]
                row = [ResidualSequential(*pair)] if self.block.startswith("res_") else pair
                blocks += [(block, width) for block in row]
            if width < out_channels:
                blocks.append((Linear(width, out_channels), 0))
        attention = at_level(self.channel_attention, level, "channel_attention")
        if attention is not None:
            blocks.append((ChannelFirst(channel_attention(attention, spatial_dims, out_channels)), 0))
        return Stage([block for block, _ in blocks], [width for _, width in blocks], channel_last_view=True)

    def pyramid_block(self, spatial_dims: int, channels: int, level: int) -> Stage:
        """One block."""
        return Stage([self.make_block(spatial_dims, channels, level, 0, 0.0)], [channels], channel_last_view=True)

    def down(self, spatial_dims: int, channels: int, stride: Sequence[int]) -> nn.Module:
        """Patch merging: neighbouring tokens to one by a linear map, then a layer norm."""
        merge = StridedConv(spatial_dims, channels, channels, stride, overlap=False, bias=False)
        return nn.Sequential(OrderedDict(reduction=merge, norm=ChannelLayerNorm(channels)))

    def up(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
        """By ``up_mode``, then a layer norm."""
        if self.up_mode == "interpolate":
            up: nn.Module = InterpolateUp(spatial_dims, in_channels, out_channels, stride)
        else:
            up = TransposedConv(spatial_dims, in_channels, out_channels, stride, overlap=False)
        return nn.Sequential(OrderedDict(up=up, norm=ChannelLayerNorm(out_channels)))

    def patch_recovery(
        self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """Every token becomes a patch of pixels, then a 1x1 convolution; a 1x1 convolution for patches of one pixel."""
        if max(patch_size) == 1:
            return Conv["conv", spatial_dims](in_channels, out_channels, 1)
        return PatchExpand(spatial_dims, in_channels, out_channels, patch_size)


def heads_of_32(channels: int) -> int:
    """The number of heads of 32 channels, or of the next wider ones that divide the channels."""
    return next(heads for heads in range(max(1, channels // 32), 0, -1) if channels % heads == 0)
