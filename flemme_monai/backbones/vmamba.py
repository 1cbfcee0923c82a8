"""The Vision Mamba family and its three encoders: VMamba, VMambaU, VMambaD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..blocks import MambaMixer, MetaFormerBlock, SelectiveScan, StateSpaceDuality, num_orders
from .connections import DenseConnection, NoConnection, SkipConnection
from .encoder_decoder import EncoderDecoder
from .family import at_level
from .sequence import SequenceFamily


@dataclass(frozen=True)
class MambaFamily(SequenceFamily):
    """Settings of stages of selective scans (VMamba, Liu et al. 2024); the rest as in :class:`SequenceFamily`.

    Args:
        block: ``mamba`` (S6) or ``mamba2`` (SSD), each also with ``double_`` or ``res_``.
        state_size: states per channel; one value, or one per level; None takes 1, as VMamba does, for mamba2 64.
        expansion: the scan's channels over the block's.
        dt_rank: rank of the step sizes of mamba; one value, or one per level; None takes a sixteenth of the channels.
        dt_range: smallest and largest step size at the start.
        head_width: channels of a head of mamba2; one value, or one per level.
        kernel_size: of the depthwise convolution before the scan; odd.
        scan: orders in which the image is scanned, see :func:`flemme_monai.blocks.scan_orders`.
        flip: whether each order is walked backwards too.
        learn_initial_state: whether the state before the first token is learned, of mamba2; else 0.
    """

    block: str = "mamba"
    state_size: int | Sequence[int] | None = None
    expansion: float = 2.0
    dt_rank: int | Sequence[int] | None = None
    dt_range: Sequence[float] = (0.001, 0.1)
    head_width: int | Sequence[int] = 32
    kernel_size: int = 3
    scan: str = "cross"
    flip: bool = True
    learn_initial_state: bool = False

    block_names: ClassVar[tuple[str, ...]] = ("mamba", "mamba2")
    positive_int_settings: ClassVar[tuple[str, ...]] = ("state_size", "dt_rank", "head_width")

    def __post_init__(self) -> None:
        super().__post_init__()
        num_orders(2, self.scan, self.flip)  # refuses another scan
        if self.learn_initial_state and not self.block.endswith("mamba2"):
            raise ValueError(f"learn_initial_state is true of block {self.block!r}; expected it of mamba2 alone.")
        if self.expansion <= 0:
            raise ValueError(f"expansion is {self.expansion}; expected a number above 0.")
        if len(self.dt_range) != 2 or not 0 < self.dt_range[0] <= self.dt_range[1]:
            raise ValueError(f"dt_range is {tuple(self.dt_range)}; expected two rising numbers above 0.")
        if not isinstance(self.kernel_size, int) or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; expected an odd whole number above 0.")

    def make_block(self, spatial_dims: int, channels: int, level: int, index: int, drop_path: float) -> nn.Module:
        """A Mamba block."""
        inner = int(self.expansion * channels)
        orders = num_orders(spatial_dims, self.scan, self.flip)
        states = at_level(self.state_size, level, "state_size")
        if self.block.endswith("mamba2"):
            width = at_level(self.head_width, level, "head_width")
            scan: nn.Module = StateSpaceDuality(
                inner, orders, states or 64, width, self.dt_range, self.learn_initial_state
            )
        else:
            rank = at_level(self.dt_rank, level, "dt_rank") or -(-channels // 16)
            scan = SelectiveScan(inner, orders, states or 1, rank, self.dt_range)
        mixer = MambaMixer(spatial_dims, channels, inner, scan, self.kernel_size, self.scan, self.flip)
        norm = self.token_norm(spatial_dims)
        return MetaFormerBlock(channels, mixer, self.mlp_ratio, self.act, self.dropout, drop_path, norm)


class VMamba(EncoderDecoder):
    """Plain Mamba encoder-decoder."""

    family_type = MambaFamily
    connection = NoConnection()


class VMambaU(EncoderDecoder):
    """U-shaped Mamba encoder-decoder."""

    family_type = MambaFamily
    connection = SkipConnection()


class VMambaD(EncoderDecoder):
    """Densely connected Mamba encoder-decoder."""

    family_type = MambaFamily
    connection = DenseConnection()
