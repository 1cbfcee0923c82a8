"""HarDNet without its classifier: blocks of harmonically connected convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Pool
from torch import nn

from ...blocks import ConvBlock, Stage
from ..stages import StageEncoder


class HarmonicBlock(nn.Module):
    """Convolutions of which number l sees the outputs of l - 1, l - 2, l - 4, ..., as far as these powers divide l.

    Its output are those of the odd numbers and of the last one (HarDNet, Chao et al. 2019).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input, which is number 0.
        growth: width of a convolution that sees one output.
        multiplier: factor of the width for each further output that it sees.
        layers: convolutions.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.

    Attributes:
        out_channels: channels of the output.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        growth: int,
        multiplier: float,
        layers: int,
        norm: str | None = "batch",
        act: str | tuple = "relu6",
    ) -> None:
        super().__init__()
        self.links = [links_of(i) for i in range(1, layers + 1)]
        channels = [in_channels]
        blocks: list[nn.Module] = []
        for links in self.links:
            width = 2 * int((int(growth * multiplier ** (len(links) - 1) + 1)) / 2)  # an even number
            blocks.append(ConvBlock(spatial_dims, sum(channels[i] for i in links), width, norm, act))
            channels.append(width)
        self.layers = nn.ModuleList(blocks)
        self.out_channels = sum(channels[i] for i in range(1, layers + 1) if i % 2 or i == layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *s)."""
        outputs = [x]
        shown: list[torch.Tensor] = []
        for i, layer in enumerate(self.layers):
            outputs.append(layer(torch.cat([outputs[j] for j in self.links[i]], 1)))
            if i % 2 == 0 or i == len(self.links) - 1:
                shown.append(outputs[-1])
        return torch.cat(shown, 1)


def links_of(layer: int) -> list[int]:
    """The numbers of the layers that a layer of a harmonic block sees, nearest first: l - 2^k where 2^k divides l."""
    return [layer - 2**k for k in range(layer.bit_length()) if layer % 2**k == 0]


class HarDNetEncoder(StageEncoder):
    """HarDNet-68 (Chao, Kao, Ruan, Huang, Lin, ICCV 2019); takes its authors' weights.

    Its features are those of the stem at half of the image's size, which is not kept, and of four stages at 1/4 to
    1/32; the second has two harmonic blocks, the others one, and a 1x1 convolution follows each.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        stem_channels: width of the two convolutions of the stem.
        channels: width after each of the five blocks.
        growth: of each block.
        layers: convolutions of each block.
        multiplier: of all blocks.
        keep: whether the features at 1/2, 1/4, 1/8 and 1/16 are kept.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        min_latent_positions: positions that the latent needs in training; 2 under instance norm.
    """

    weight_names: ClassVar[tuple[tuple[str, str], ...]] = tuple(
        (rf"^base\.{number}\.", f"stages.{stage}.blocks.{block}.")
        for stage, numbers in enumerate(((0, 1), (3, 4), (6, 7, 8, 9), (11, 12), (14, 15)))
        for block, number in enumerate(numbers)
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        stem_channels: Sequence[int] = (32, 64),
        channels: Sequence[int] = (128, 256, 320, 640, 1024),
        growth: Sequence[int] = (14, 16, 20, 40, 160),
        layers: Sequence[int] = (8, 16, 16, 16, 4),
        multiplier: float = 1.7,
        keep: Sequence[bool] = (False, True, True, True),
        norm: str | None = "batch",
        act: str | tuple = "relu6",
        min_latent_positions: int = 1,
    ) -> None:
        before, blocks = stem_channels[1], []
        for width, own_growth, count in zip(channels, growth, layers):
            block = HarmonicBlock(spatial_dims, before, own_growth, multiplier, count, norm, act)
            blocks.append([block, ConvBlock(spatial_dims, block.out_channels, width, norm, act, kernel_size=1)])
            before = width
        stem = [
            ConvBlock(spatial_dims, in_channels, stem_channels[0], norm, act, stride=2),
            ConvBlock(spatial_dims, stem_channels[0], stem_channels[1], norm, act),
        ]
        stages = [Stage(stem, stem_channels)]
        for members in ((0,), (1, 2), (3,), (4,)):
            modules = [module for i in members for module in blocks[i]]
            stages.append(Stage(modules, [width for i in members for width in (0, channels[i])]))
        pool = Pool["max", spatial_dims]
        super().__init__(
            spatial_dims,
            in_channels,
            downs=[nn.Identity(), pool(3, 2, 1), pool(2), pool(2), pool(2)],
            stages=stages,
            strides=[2] * 5,
            latent_channels=channels[-1],
            keep=keep,
            min_latent_positions=min_latent_positions,
        )
