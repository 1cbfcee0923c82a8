"""The geometry of an encoder-decoder: how fine, how wide and how deep each stage is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from .family import at_level


class FeatureSpec(NamedTuple):
    """A feature that a later stage may see.

    Attributes:
        channels: number of channels.
        strides: pixels of the image per position along each axis.
    """

    channels: int
    strides: list[int]


@dataclass
class StageLayout:
    """Resolutions, widths and depths that encoder and decoder share; the arguments are those of
    :class:`.EncoderDecoder`.

    Attributes:
        patch: pixels of a patch along each axis.
        stage_strides: downsampling after each stage along each axis.
        total_strides: pixels per position along each axis, for each level; the middle's come last.
        blocks: blocks per stage of each level; the middle's come last.

    Raises:
        ValueError: If settings do not fit each other; the message names them.
    """

    spatial_dims: int
    patch_size: int | Sequence[int]
    patch_channels: int
    channels: Sequence[int]
    middle_channels: Sequence[int]
    final_channels: Sequence[int]
    num_blocks: int | Sequence[int]
    strides: int | Sequence[int | Sequence[int]]
    patch: list[int] = field(init=False)
    stage_strides: list[list[int]] = field(init=False)
    total_strides: list[list[int]] = field(init=False)
    blocks: list[int] = field(init=False)

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {self.spatial_dims}; expected 2 or 3.")
        if not self.middle_channels:
            raise ValueError(f"middle_channels is {list(self.middle_channels)}; expected at least one width.")
        self.patch = _per_axis(self.patch_size, self.spatial_dims, "patch_size")
        self.stage_strides = _per_stage(self.strides, self.depth, self.spatial_dims)
        self.total_strides = [self.patch]
        for strides in self.stage_strides:
            self.total_strides.append([t * s for t, s in zip(self.total_strides[-1], strides)])
        self.blocks = [at_level(self.num_blocks, level, "num_blocks") for level in range(self.depth + 1)]
        if min(self.blocks) < 1:
            raise ValueError(f"num_blocks is {self.num_blocks}; expected at least one block in every stage.")

    @property
    def depth(self) -> int:
        """Number of stages of each half; the level of the middle."""
        return len(self.channels)

    def feature(self, channels: int, level: int) -> FeatureSpec:
        """A feature of that width at the resolution of a level."""
        return FeatureSpec(channels, self.total_strides[level])

    def encoder_drop_path_rates(self, largest: float) -> list[list[float]]:
        """Drop-path rates of the blocks of each encoder stage and each group of middle blocks, growing."""
        depths = self.blocks[:-1] + [self.blocks[-1]] * len(self.middle_channels)
        return _grouped(torch.linspace(0.0, largest, sum(depths), device="cpu").tolist(), depths)

    def decoder_drop_path_rates(self, largest: float) -> list[list[float]]:
        """Drop-path rates of the blocks of each decoder stage and each group of final blocks, falling."""
        depths = self.blocks[:-1][::-1] + [self.blocks[0]] * len(self.final_channels)
        return _grouped(torch.linspace(largest, 0.0, sum(depths), device="cpu").tolist(), depths)


def _per_axis(value: int | Sequence[int], spatial_dims: int, name: str) -> list[int]:
    """One number for each axis."""
    values = [value] * spatial_dims if isinstance(value, int) else list(value)
    if len(values) != spatial_dims or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"{name} is {value}; expected a positive number, or {spatial_dims} of them, one per axis.")
    return values


def _per_stage(strides: int | Sequence[int | Sequence[int]], depth: int, spatial_dims: int) -> list[list[int]]:
    """One stride per axis for each stage."""
    entries = [strides] * depth if isinstance(strides, int) else list(strides)
    if len(entries) != depth:
        raise ValueError(f"strides is {strides}; expected a number, or one entry for each of the {depth} stages.")
    return [_per_axis(entry, spatial_dims, "strides") for entry in entries]


def _grouped(values: list[float], sizes: Sequence[int]) -> list[list[float]]:
    """Values in groups of these sizes."""
    rest = iter(values)
    return [[next(rest) for _ in range(size)] for size in sizes]
