"""Blocks of several receptive fields: chained convolutions side by side."""

from __future__ import annotations

import torch
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .conv import ConvBlock
from .layers import make_norm

SHARES = (0.167, 0.333, 0.5)  # of the block's width, for 3x3, 5x5 and 7x7 by one, two and three convolutions


def multires_channels(channels: int, alpha: float = 1.67) -> list[int]:
    """Channels of the three convolutions in a block that takes the place of ``channels`` wide ones."""
    return [int(alpha * channels * share) for share in SHARES]


class MultiRes(nn.Module):
    """Three 3x3 convolutions in a chain, all of whose outputs are kept, and a shortcut (MultiResUNet, Ibtehaz 2020).

    Its width is the sum of :func:`multires_channels`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: the width of the two convolutions whose place it takes.
        alpha: factor of that width.
        norm: a name of :func:`flemme_monai.blocks.make_norm`; the channels have few divisors, so group norm fails.
        act: any activation MONAI names.

    Attributes:
        out_channels: channels of the output.

    Raises:
        ValueError: If a convolution would have no channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        alpha: float = 1.67,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        split = multires_channels(channels, alpha)
        if min(split) < 1:
            raise ValueError(
                f"channels is {channels} and alpha {alpha}; expected a product of 6 or more, of which "
                f"{', '.join(map(str, SHARES))} are the channels of three convolutions."
            )
        self.out_channels = sum(split)
        pairs = zip([in_channels, *split], split)
        self.convs = nn.ModuleList([ConvBlock(spatial_dims, a, b, norm, act) for a, b in pairs])
        self.norm1 = make_norm(norm, spatial_dims, self.out_channels)
        self.shortcut = ConvBlock(spatial_dims, in_channels, self.out_channels, norm, None, kernel_size=1)
        self.act = get_act_layer(act)
        self.norm2 = make_norm(norm, spatial_dims, self.out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        shortcut = self.shortcut(x)
        outputs: list[torch.Tensor] = []
        for conv in self.convs:
            x = conv(x)
            outputs.append(x)
        x = self.norm1(torch.cat(outputs, 1))  # (B, C_out, *s)
        return self.norm2(self.act(x + shortcut))
