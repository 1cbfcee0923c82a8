"""Grouped convolutions whose groups meet because all channels move on between them (JMedSeg's OneNet and LightNet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .conv import ConvBlock
from .stage import ConditionEmbeddings, Stage


class ShiftGroupConv(nn.Module):
    """Grouped convolution, norm, activation; then the channels roll, so that the next groups see halves of two.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        group_width: channels of the input in a group.
        shift: channels by which they roll.
        dilation: distance of the kernel's points.
        kernel_size: odd kernel size.
        norm: a name of :func:`flemme_monai.blocks.make_norm`; a group norm has the convolution's groups.
        act: any activation MONAI names.

    Raises:
        ValueError: If the width of a group does not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        group_width: int,
        shift: int,
        dilation: int = 1,
        kernel_size: int = 3,
        norm: str | None = "group",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        groups = in_channels // group_width
        if in_channels % group_width or out_channels % groups:
            raise ValueError(
                f"group_width is {group_width}; expected a divisor of the {in_channels} channels, so that the groups "
                f"share the {out_channels} channels after them: choose another width of a group, or other channels."
            )
        self.shift = shift
        self.conv = ConvBlock(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            dilation=dilation,
            groups=groups,
            norm=norm,
            act=act,
            num_groups=groups,
            bias=False,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        return torch.roll(self.conv(x), [self.shift], [1])


class ChannelSum(nn.Module):
    """The sum of all channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, 1, *s)."""
        return x.sum(1, keepdim=True)


class ConcatenatedTaps(nn.Module):
    """Features of one resolution, concatenated and passed on to a stage.

    Args:
        stage: from all their channels to the output.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, taps: list[torch.Tensor], conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """Features (B, C, *s) to one (B, C', *s)."""
        x = torch.cat(taps, 1)
        return self.stage(x) if conditions is None else self.stage(x, conditions)


class MultipliedTaps(nn.Module):
    """Features of one resolution, multiplied from the last to the first, with a stage after each product.

    Args:
        stages: as many as features without one.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, taps: list[torch.Tensor], conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """Features (B, C, *s) to one of the same shape."""
        x = taps[-1]
        for i, stage in enumerate(self.stages):
            x = x * taps[len(taps) - 2 - i]
            x = stage(x) if conditions is None else stage(x, conditions)
        return x
