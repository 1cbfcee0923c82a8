"""The levels of an encoder-decoder: how fine, how wide and how deep each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .connections import DenseConnection, NoConnection, Resample
from .family import BlockFamily, at_level


@dataclass
class Levels:
    """What encoder and decoder agree on; the arguments are those of :class:`EncoderDecoder`.

    Attributes:
        patch: the image's pixels a feature along each axis.
        steps: downsampling after each stage along each axis.
        totals: total stride of the features of each level along each axis; the middle's comes last.
        blocks: blocks a stage of each level; the middle's come last.

    Raises:
        ValueError: for settings that do not fit each other; the message names them.
    """

    spatial_dims: int
    family: BlockFamily
    connection: str
    patch_size: int | Sequence[int]
    patch_channels: int
    channels: Sequence[int]
    middle_channels: Sequence[int]
    final_channels: Sequence[int]
    num_blocks: int | Sequence[int]
    strides: int | Sequence[int | Sequence[int]]
    drop_path: float

    def __post_init__(self) -> None:
        if not self.channels or not self.middle_channels:
            raise ValueError(
                f"channels {list(self.channels)} and middle_channels {list(self.middle_channels)} need at least one "
                "width each."
            )
        depth = len(self.channels)
        self.patch = _per_axis(self.patch_size, self.spatial_dims, "patch_size")
        self.steps = _per_stage(self.strides, depth, self.spatial_dims)
        self.totals = [self.patch]
        for step in self.steps:
            self.totals.append([t * s for t, s in zip(self.totals[-1], step)])
        self.blocks = [at_level(self.num_blocks, level, "num_blocks") for level in range(depth + 1)]
        if min(self.blocks) < 1:
            raise ValueError(f"num_blocks is {self.num_blocks}; every stage needs at least one block.")

    def encoder_rates(self) -> list[list[float]]:
        """Drop-path rates of each encoder stage and group of middle blocks, growing."""
        return _split(0.0, self.drop_path, self.blocks[:-1] + [self.blocks[-1]] * len(self.middle_channels))

    def decoder_rates(self) -> list[list[float]]:
        """Drop-path rates of each decoder stage and group of final blocks, falling."""
        return _split(self.drop_path, 0.0, self.blocks[:-1][::-1] + [self.blocks[0]] * len(self.final_channels))

    def connect(self, width: int, kept: Sequence[tuple[int, list[int]]], level: int) -> tuple[nn.Module, int]:
        """What a stage of that width sees beside its input, and the width after it.

        Args:
            width: channels of the stage's input.
            kept: channels and total stride of every feature made so far, of which the last is the stage's own input.
            level: the stage's level.
        """
        if self.connection != "dense" or len(kept) < 2:
            return NoConnection(), width
        target = self.totals[level]
        resamplers = [Resample(self.spatial_dims, c, width, source, target) for c, source in kept[:-1]]
        return DenseConnection(resamplers), width * (1 + len(resamplers))


def _per_axis(value: int | Sequence[int], spatial_dims: int, name: str) -> list[int]:
    """One number for each axis."""
    values = [value] * spatial_dims if isinstance(value, int) else list(value)
    if len(values) != spatial_dims or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"{name} is {value}; expected a positive number, or {spatial_dims} of them, one an axis.")
    return values


def _per_stage(strides: int | Sequence[int | Sequence[int]], depth: int, spatial_dims: int) -> list[list[int]]:
    """One stride an axis for each stage."""
    entries = [strides] * depth if isinstance(strides, int) else list(strides)
    if len(entries) != depth:
        raise ValueError(f"strides is {strides}; expected a number, or one entry for each of the {depth} stages.")
    return [_per_axis(entry, spatial_dims, "strides") for entry in entries]


def _split(first: float, last: float, counts: Sequence[int]) -> list[list[float]]:
    """Numbers evenly spaced from first to last, ``counts`` of them for each group."""
    values = iter(torch.linspace(first, last, sum(counts)).tolist())
    return [[next(values) for _ in range(count)] for count in counts]
