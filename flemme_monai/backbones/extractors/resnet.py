"""The trunk ResNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ...blocks import Stage, keeps_bias, make_norm
from ..stages import StageEncoder

# blocks of each stage, and whether they are bottlenecks; 10, 14 and 26 are the shortest of either kind
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    10: ((1, 1, 1, 1), False),
    14: ((1, 1, 1, 1), True),
    18: ((2, 2, 2, 2), False),
    26: ((2, 2, 2, 2), True),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
OUTPUT_STRIDES = (8, 16, 32)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., CVPR 2016, figure 5 left).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels after each convolution.
        stride: of the first convolution.
        dilation: of the first convolution and of the second.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        stride: int,
        dilation: tuple[int, int],
        norm: str | None,
        act: str | tuple,
    ) -> None:
        super().__init__()
        conv, (first, second), bias = Conv["conv", spatial_dims], dilation, keeps_bias(norm)
        self.conv1 = conv(in_channels, channels, 3, stride=stride, padding=first, dilation=first, bias=bias)
        self.bn1 = make_norm(norm, spatial_dims, channels)
        self.conv2 = conv(channels, channels, 3, padding=second, dilation=second, bias=bias)
        self.bn2 = make_norm(norm, spatial_dims, channels)
        self.downsample = _shortcut(spatial_dims, in_channels, channels, stride, norm)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C, *(s / stride))."""
        out = self.act(self.bn1(self.conv1(x)))
        return self.act(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut (figure 5 right); the 3x3 one has the stride, as in torchvision.

    Args:
        channels: channels after the first two convolutions; the last has four times as many.
        spatial_dims, in_channels, stride, norm, act: as of :class:`BasicBlock`.
        dilation: of the 3x3 convolution, which is the first of the two numbers.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        stride: int,
        dilation: tuple[int, int],
        norm: str | None,
        act: str | tuple,
    ) -> None:
        super().__init__()
        conv, after, bias = Conv["conv", spatial_dims], channels * self.expansion, keeps_bias(norm)
        self.conv1 = conv(in_channels, channels, 1, bias=bias)
        self.bn1 = make_norm(norm, spatial_dims, channels)
        self.conv2 = conv(channels, channels, 3, stride=stride, padding=dilation[0], dilation=dilation[0], bias=bias)
        self.bn2 = make_norm(norm, spatial_dims, channels)
        self.conv3 = conv(channels, after, 1, bias=bias)
        self.bn3 = make_norm(norm, spatial_dims, after)
        self.downsample = _shortcut(spatial_dims, in_channels, after, stride, norm)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, 4 C, *(s / stride))."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        return self.act(self.bn3(self.conv3(out)) + self.downsample(x))


def _shortcut(spatial_dims: int, in_channels: int, out_channels: int, stride: int, norm: str | None) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    conv = Conv["conv", spatial_dims](in_channels, out_channels, 1, stride=stride, bias=keeps_bias(norm))
    return nn.Sequential(conv, make_norm(norm, spatial_dims, out_channels))


class ResNet(StageEncoder):
    """Deep residual network (He, Zhang, Ren, Sun, CVPR 2016) without its classifier, dilated where it is asked for.

    Its features are those of the stem (half of the image's size) and of the four stages (1/4, 1/8, 1/16, 1/32). A
    smaller output stride takes the strides of the last stages away and dilates their convolutions instead (DeepLab,
    Chen et al. 2018), so that published weights mean the same. Modules have torchvision's names in ``blocks``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        depth: 18, 34, 50, 101 or 152 as published; 10, 14 and 26 are shorter.
        channels: width of the stem and of the first stage, which each stage doubles; bottlenecks have four times more.
        output_stride: total stride: 8, 16 or 32.
        multi_grid: further factors of the dilation of the last stage's blocks, the last one for all that follow
            (DeepLab V3, Chen et al. 2017).
        num_stages: stages, from the first; with three the stride is 16 at most.
        keep: whether the features of the stem and of each stage but the last are kept; None keeps all.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.

    Attributes:
        feature_channels: channels of the stem and of each stage.
        feature_strides: their strides.

    Raises:
        ValueError: If the depth or the stride is another.
    """

    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"^(conv1|bn1)\.", r"stages.0.blocks.0.\1."),
        (r"^layer(\d)\.(\d+)\.", r"stages.\1.blocks.\2."),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        depth: int = 50,
        channels: int = 64,
        output_stride: int = 32,
        multi_grid: Sequence[int] = (1,),
        num_stages: int = 4,
        keep: Sequence[bool] | None = None,
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        if depth not in DEPTHS:
            raise ValueError(f"depth is {depth}; expected one of {', '.join(map(str, DEPTHS))}.")
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"output_stride is {output_stride}; expected 8, 16 or 32.")
        blocks, bottlenecks = DEPTHS[depth]
        block = Bottleneck if bottlenecks else BasicBlock
        stem = OrderedDict(
            conv1=Conv["conv", spatial_dims](in_channels, channels, 7, stride=2, padding=3, bias=keeps_bias(norm)),
            bn1=make_norm(norm, spatial_dims, channels),
            act=get_act_layer(act),
        )
        stages, feature_channels, feature_strides = [Stage([nn.Sequential(stem)], [channels])], [channels], [2]
        before, total, dilation = channels, 4, 1
        for i in range(num_stages):
            stride, first = (1 if i == 0 else 2), dilation
            if stride == 2 and total == output_stride:
                stride, dilation = 1, 2 * dilation
            total *= stride
            grid = multi_grid if i == len(blocks) - 1 else (1,)
            layers: list[nn.Module] = []
            for j in range(blocks[i]):
                factor = grid[min(j, len(grid) - 1)]
                dilations = (dilation if j else first) * factor, dilation * factor
                layers.append(block(spatial_dims, before, channels * 2**i, 1 if j else stride, dilations, norm, act))
                before = channels * 2**i * block.expansion
            stages.append(Stage(layers, [before] * len(layers)))
            feature_channels.append(before)
            feature_strides.append(total)
        pool = Pool["max", spatial_dims](3, stride=2, padding=1)
        super().__init__(
            spatial_dims,
            in_channels,
            downs=[nn.Identity(), pool, *(nn.Identity() for _ in range(num_stages - 1))],
            stages=stages,
            strides=[total],
            latent_channels=before,
            keep=keep,
            min_latent_positions=2 if norm == "instance" else 1,
        )
        self.feature_channels, self.feature_strides = feature_channels, feature_strides
        for layer in self.modules():
            if isinstance(layer, _ConvNd):  # He et al., ICCV 2015
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def stride_of(self, stage: int) -> list[int]:
        """The stride of the stem (0) or of a stage along each axis."""
        return [self.feature_strides[stage]] * self.spatial_dims
