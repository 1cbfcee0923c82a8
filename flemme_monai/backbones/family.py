"""What a block family promises to an encoder-decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from ..blocks import Stage


class BlockFamily(ABC):
    """The modules of one kind of block: patch embedding, stages, changes of resolution and patch recovery.

    A family is a small object of settings. An encoder-decoder asks it for modules; ``level`` counts from the finest
    stage (0) to the middle blocks (the number of stages).

    Attributes:
        use_channels_last: whether channels_last is the memory format in which the family's blocks run fastest.
        use_position_embedding: whether the blocks need an absolute position embedding to know where they are.
        has_drop_path: whether the blocks have residual branches that a sample can skip.
    """

    use_channels_last: ClassVar[bool] = False
    use_position_embedding: ClassVar[bool] = False
    has_drop_path: ClassVar[bool] = True

    @property
    def min_latent_positions(self) -> int:
        """Positions that the latent needs in training."""
        return 1

    @property
    def sees_a_set(self) -> bool:
        """Whether stages and changes of resolution give the positions of one patch of the latent the same features
        wherever it lies, so that others can be left out: attention to all positions, and merging without overlap."""
        return False

    @property
    def norm_removes_channel_shift(self) -> bool:
        """Whether a block's norm subtracts each channel's mean, and with it a number that is added to a channel."""
        return False

    @abstractmethod
    def patch_embedding(
        self, spatial_dims: int, in_channels: int, channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """From the image (B, in_channels, *S) to features (B, channels, *(S / patch_size))."""

    @abstractmethod
    def stage(
        self, spatial_dims: int, in_channels: int, out_channels: int, level: int, drop_path: Sequence[float]
    ) -> Stage:
        """``len(drop_path)`` blocks from (B, in_channels, *s) to (B, out_channels, *s)."""

    @abstractmethod
    def pyramid_block(self, spatial_dims: int, channels: int, level: int) -> Stage:
        """One residual block, (B, channels, *s) to the same: what a level of the pyramid adds to its feature."""

    @abstractmethod
    def down(self, spatial_dims: int, channels: int, stride: Sequence[int]) -> nn.Module:
        """From (B, channels, *s) to (B, channels, *(s / stride))."""

    @abstractmethod
    def up(self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
        """From (B, in_channels, *s) to (B, out_channels, *(s * stride))."""

    def of_decoder(self) -> BlockFamily:
        """The family with what its settings say of the decoder's stages alone."""
        return self

    def of_final(self) -> BlockFamily:
        """The family with what its settings say of the blocks after the last stage alone."""
        return self.of_decoder()

    def down_to_next(
        self, spatial_dims: int, channels: int, next_channels: int, stride: Sequence[int], level: int
    ) -> tuple[nn.Module, int]:
        """What follows a stage on the way down, and the channels after it: those of the stage, whose successor changes
        the width, where a family does not say otherwise."""
        return self.down(spatial_dims, channels, stride), channels

    def up_to_level(
        self, spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int], level: int
    ) -> nn.Module:
        """As :meth:`up`, for families whose settings differ from level to level there too."""
        return self.up(spatial_dims, in_channels, out_channels, stride)

    @abstractmethod
    def patch_recovery(
        self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: Sequence[int]
    ) -> nn.Module:
        """From features (B, in_channels, *s) to the image (B, out_channels, *(s * patch_size))."""


def at_level(setting: Any, level: int, name: str) -> Any:
    """The value of a setting at a level: a sequence holds one value per level, anything else holds everywhere.

    Raises:
        ValueError: If the sequence has no value for that level.
    """
    if not isinstance(setting, (list, tuple)):
        return setting
    if level >= len(setting):
        raise ValueError(
            f"{name} has {len(setting)} values ({list(setting)}) and none for level {level}; expected one value, or "
            "one for each stage and one for the middle blocks."
        )
    return setting[level]
