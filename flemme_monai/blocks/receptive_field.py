"""Receptive fields of several sizes, and the decoder that joins features by products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .area import linear_resize
from .conv import ConvBlock


class ReceptiveFieldBlock(nn.Module):
    """Branches of 1x1 convolutions, with kernels of 3, 5 and 7 along each axis and 3x3 ones of that dilation, fused.

    The block of HarDNet-MSEG (Huang, Wu, Lin 2021, after RFB: Liu, Huang, Wang, ECCV 2018), in which convolutions have
    norms and no activation but the last.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output, and of each branch.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()

        def conv(before: int, kernel_size: int | Sequence[int], dilation: int = 1) -> ConvBlock:
            return ConvBlock(spatial_dims, before, out_channels, norm, None, kernel_size, dilation=dilation)

        branches: list[nn.Module] = [conv(in_channels, 1)]
        for size in (3, 5, 7):
            # along the last axis first
            along = [[size if i == axis else 1 for i in range(spatial_dims)] for axis in reversed(range(spatial_dims))]
            layers = [conv(out_channels, kernel) for kernel in along]
            branches.append(nn.Sequential(conv(in_channels, 1), *layers, conv(out_channels, 3, size)))
        self.branches = nn.ModuleList(branches)
        self.fuse = conv(4 * out_channels, 3)
        self.shortcut = conv(in_channels, 1)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        branches: list[torch.Tensor] = []
        for branch in self.branches:
            branches.append(branch(x))
        return self.act(self.fuse(torch.cat(branches, 1)) + self.shortcut(x))


class PartialDecoder(nn.Module):
    """Joins features from coarse to fine: a level's, times coarser ones, beside what the levels before it joined.

    The cascaded partial decoder (Wu, Su, Huang, CVPR 2019) as HarDNet-MSEG has it: norms, no activations.

    Args:
        spatial_dims: 2 or 3.
        channels: C, width of each feature; i features joined have i C.
        factors: how many coarser features are multiplied with that of each level after the coarsest one.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
    """

    def __init__(self, spatial_dims: int, channels: int, factors: Sequence[int], norm: str | None = "batch") -> None:
        super().__init__()

        def conv(width: int) -> ConvBlock:
            return ConvBlock(spatial_dims, width, width, norm, None)

        self.products = nn.ModuleList([_Product([conv(channels) for _ in range(count)]) for count in factors])
        self.raises = nn.ModuleList([conv((i + 1) * channels) for i in range(len(factors))])
        self.joins = nn.ModuleList([conv((i + 2) * channels) for i in range(len(factors))])

    def forward(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Features (B, C, *s_i), coarse to fine, to what is joined up to each: (B, (i + 1) C, *s_i)."""
        joined = [inputs[0]]
        for i, (product, up, join) in enumerate(zip(self.products, self.raises, self.joins)):
            own = product(inputs[i + 1], inputs)
            raised = up(linear_resize(joined[i], list(own.shape[2:])))
            joined.append(join(torch.cat([own, raised], 1)))
        return joined


class _Product(nn.Module):
    """A feature times coarser ones, each resized and through a module of its own."""

    def __init__(self, factors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.factors = nn.ModuleList(factors)

    def forward(self, x: torch.Tensor, coarser: list[torch.Tensor]) -> torch.Tensor:
        size = list(x.shape[2:])
        for i, factor in enumerate(self.factors):
            x = x * factor(linear_resize(coarser[i], size))
        return x
