"""DenseNet without its classifier: blocks in which every layer sees all before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ...blocks import Stage, make_norm
from ..stages import StageEncoder


class DenseLayer(nn.Module):
    """New channels beside those of the input: norm, activation, 1x1 convolution, norm, activation, 3x3 convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        growth: new channels.
        factor: channels between the convolutions, in multiples of ``growth``.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, growth: int, factor: int, norm: str | None, act: str | tuple
    ) -> None:
        super().__init__()
        conv, middle = Conv["conv", spatial_dims], factor * growth
        self.norm1, self.conv1 = make_norm(norm, spatial_dims, in_channels), conv(in_channels, middle, 1, bias=False)
        self.norm2, self.conv2 = make_norm(norm, spatial_dims, middle), conv(middle, growth, 3, padding=1, bias=False)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C + growth, *s)."""
        new = self.conv1(self.act(self.norm1(x)))
        return torch.cat([x, self.conv2(self.act(self.norm2(new)))], 1)


class DenseNetEncoder(StageEncoder):
    """DenseNet (Huang, Liu, van der Maaten, Weinberger, CVPR 2017), by default 161; takes torchvision's weights.

    Its features are those of the stem at half of the image's size, of the first three dense blocks at 1/4, 1/8 and
    1/16, and as the latent that of the fourth at 1/32, with its norm and activation. Inside, modules have torchvision's
    names. 121 has a growth of 32, a stem of 64 channels and blocks of 6, 12, 24 and 16 layers.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        stem_channels: width of the stem.
        growth: channels that a layer adds.
        layers: of each of the four dense blocks; half of the channels go on after each but the last.
        factor: width inside a layer, in multiples of ``growth``.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        min_latent_positions: positions that the latent needs in training; 2 under instance norm.

    Attributes:
        feature_channels: channels of the stem and of the dense blocks.
        weight_names: torchvision's names, in which layers count from 1, and those here.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        stem_channels: int = 96,
        growth: int = 48,
        layers: Sequence[int] = (6, 12, 36, 24),
        factor: int = 4,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        min_latent_positions: int = 1,
    ) -> None:
        conv, width = Conv["conv", spatial_dims], stem_channels
        stem = OrderedDict(
            conv0=conv(in_channels, width, 7, stride=2, padding=3, bias=False),
            norm0=make_norm(norm, spatial_dims, width),
            act=get_act_layer(act),
        )
        downs: list[nn.Module] = [nn.Identity(), Pool["max", spatial_dims](3, stride=2, padding=1)]
        stages, feature_channels = [Stage([nn.Sequential(stem)], [width])], [width]
        names = [
            (r"\.(norm|conv)\.(\d)\.", r".\1\2."),  # as files before torchvision 0.3 have them
            (r"^features\.(conv0|norm0)\.", r"stages.0.blocks.0.\1."),
        ]
        for i, count in enumerate(layers, start=1):
            blocks: list[nn.Module] = []
            for j in range(count):
                names.append((rf"^features\.denseblock{i}\.denselayer{j + 1}\.", f"stages.{i}.blocks.{j}."))
                blocks.append(DenseLayer(spatial_dims, width, growth, factor, norm, act))
                width += growth
            injected = [0] * (count - 1) + [width]
            if i == len(layers):
                end = OrderedDict(norm5=make_norm(norm, spatial_dims, width), act=get_act_layer(act))
                names.append((r"^features\.norm5\.", f"stages.{i}.blocks.{count}.norm5."))
                blocks.append(nn.Sequential(end))
                injected = [0] * count + [width]
            stages.append(Stage(blocks, injected))
            feature_channels.append(width)
            if i < len(layers):
                names.append((rf"^features\.transition{i}\.", f"downs.{i + 1}."))
                transition = OrderedDict(
                    norm=make_norm(norm, spatial_dims, width),
                    act=get_act_layer(act),
                    conv=conv(width, width // 2, 1, bias=False),
                    pool=Pool["avg", spatial_dims](2, 2),
                )
                downs.append(nn.Sequential(transition))
                width //= 2
        super().__init__(
            spatial_dims,
            in_channels,
            downs=downs,
            stages=stages,
            strides=[2] * len(stages),
            latent_channels=width,
            min_latent_positions=min_latent_positions,
        )
        self.feature_channels, self.weight_names = feature_channels, names
        for module in self.modules():
            if isinstance(module, _ConvNd):
                nn.init.kaiming_normal_(module.weight)
