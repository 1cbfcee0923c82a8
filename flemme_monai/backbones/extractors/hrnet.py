"""HRNet without a head: branches at four resolutions, which exchange their features again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ...blocks import ConditionEmbeddings, Stage, keeps_bias, linear_resize, make_norm
from ..backbone import check_image
from .resnet import BasicBlock, Bottleneck

STEM_BLOCKS = 4


class PathSum(nn.Module):
    """The sum of features, each through a path of its own. Args: the paths, and the activation of the sum."""

    def __init__(self, paths: Sequence[nn.Module], act: str | tuple) -> None:
        super().__init__()
        self.paths, self.act = nn.ModuleList(paths), get_act_layer(act)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Features (B, C_i, *s_i) to one (B, C, *s)."""
        x = features[0]
        for i, path in enumerate(self.paths):
            x = path(features[i]) if i == 0 else x + path(features[i])
        return self.act(x)


class ExchangeUnit(nn.Module):
    """Blocks on every branch; then every branch gets the sum of all, at its own resolution.

    Finer features come by strided 3x3 convolutions, coarser ones by a 1x1 convolution and nearest neighbours.

    Args:
        spatial_dims: 2 or 3.
        channels: width of each branch, fine to coarse.
        blocks: residual blocks on each.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, channels: Sequence[int], blocks: int, norm: str | None, act: str | tuple
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for width in channels:
            layers = [BasicBlock(spatial_dims, width, width, 1, (1, 1), norm, act) for _ in range(blocks)]
            self.branches.append(Stage(layers, [width] * blocks))
        self.fuse_layers = nn.ModuleList()
        for i, after in enumerate(channels):
            paths: list[nn.Module] = []
            for j, before in enumerate(channels):
                if j > i:
                    conv = Conv["conv", spatial_dims](before, after, 1, bias=keeps_bias(norm))
                    up = nn.Upsample(scale_factor=float(2 ** (j - i)), mode="nearest")
                    paths.append(nn.Sequential(conv, make_norm(norm, spatial_dims, after), up))
                else:
                    steps_to = [before] * (i - j - 1) + [after] if j < i else []
                    steps = [
                        _strided(spatial_dims, before, width, norm, None if step == i - j - 1 else act)
                        for step, width in enumerate(steps_to)
                    ]
                    paths.append(nn.Sequential(*steps))
            self.fuse_layers.append(PathSum(paths, act))

    def forward(
        self, features: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> list[torch.Tensor]:
        """Features (B, C_i, *s_i), fine to coarse, to the same shapes."""
        branches: list[torch.Tensor] = []
        for i, branch in enumerate(self.branches):
            branches.append(branch(features[i]) if conditions is None else branch(features[i], conditions))
        sums: list[torch.Tensor] = []
        for fuse in self.fuse_layers:
            sums.append(fuse(branches))
        return sums


class ExchangeStage(nn.Module):
    """One more branch, from the coarsest one, and units that exchange among all.

    Args:
        spatial_dims: 2 or 3.
        in_channels: width of each branch before, fine to coarse.
        channels: width of each after, one branch more.
        units: exchange units.
        blocks, norm, act: as of :class:`ExchangeUnit`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        channels: Sequence[int],
        units: int,
        blocks: int,
        norm: str | None,
        act: str | tuple,
    ) -> None:
        super().__init__()
        self.transition = nn.ModuleList()
        for before, after in zip(in_channels, channels):
            same = before == after
            self.transition.append(nn.Identity() if same else _strided(spatial_dims, before, after, norm, act, 1))
        self.transition.append(nn.Sequential(_strided(spatial_dims, in_channels[-1], channels[-1], norm, act)))
        self.units = nn.ModuleList([ExchangeUnit(spatial_dims, channels, blocks, norm, act) for _ in range(units)])

    def forward(
        self, features: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> list[torch.Tensor]:
        """Features (B, C_i, *s_i), fine to coarse, to one more."""
        branches: list[torch.Tensor] = []
        for i, path in enumerate(self.transition):
            branches.append(path(features[min(i, len(features) - 1)]))
        for unit in self.units:
            branches = unit(branches, conditions)
        return branches


class HRNetEncoder(nn.Module):
    """HRNet (Sun, Xiao, Liu, Wang, CVPR 2019; Wang et al., TPAMI 2020); takes its authors' weights and timm's.

    A stem to a quarter of the image's size, then stages of two, three and four branches at 1/4 to 1/32. The latent are
    all of them, fine to coarse, averaged to the coarsest one's resolution; all but the coarsest are kept.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: width of the finest branch, 18 or 48 as published; each coarser one has twice that of the one before.
        units: exchange units of the three stages.
        blocks: residual blocks on each branch of a unit.
        stem_channels: width of the stem, whose bottlenecks have four times more.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        min_latent_positions: positions that the latent needs in training; 2 under instance norm.

    Attributes:
        feature_channels: width of each branch, fine to coarse.
    """

    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"^layer1\.", "layer1.blocks."),
        *((rf"^transition{i + 1}\.", f"stages.{i}.transition.") for i in range(3)),
        *((rf"^stage{i + 2}\.", f"stages.{i}.units.") for i in range(3)),
        (r"\.branches\.(\d)\.", r".branches.\1.blocks."),
        (r"\.fuse_layers\.(\d)\.", r".fuse_layers.\1.paths."),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int = 18,
        units: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        stem_channels: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        min_latent_positions: int = 1,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.size_divisor = spatial_dims, in_channels, [32] * spatial_dims
        self.feature_channels = [channels * 2**i for i in range(4)]
        self.latent_channels = sum(self.feature_channels)
        self.min_latent_positions = min_latent_positions
        conv, bias = Conv["conv", spatial_dims], keeps_bias(norm)
        self.conv1 = conv(in_channels, stem_channels, 3, stride=2, padding=1, bias=bias)
        self.bn1 = make_norm(norm, spatial_dims, stem_channels)
        self.conv2 = conv(stem_channels, stem_channels, 3, stride=2, padding=1, bias=bias)
        self.bn2 = make_norm(norm, spatial_dims, stem_channels)
        self.act = get_act_layer(act)
        wide = stem_channels * Bottleneck.expansion
        layers = [
            Bottleneck(spatial_dims, wide if i else stem_channels, stem_channels, 1, (1, 1), norm, act)
            for i in range(STEM_BLOCKS)
        ]
        self.layer1 = Stage(layers, [wide] * STEM_BLOCKS)
        self.stages = nn.ModuleList()
        before = [wide]
        for i, count in enumerate(units):
            after = self.feature_channels[: i + 2]
            self.stages.append(ExchangeStage(spatial_dims, before, after, count, blocks, norm, act))
            before = after
        self.pools = nn.ModuleList([Pool["avg", spatial_dims](2**i) for i in (3, 2, 1)])
        for module in self.modules():
            if isinstance(module, _ConvNd):  # He et al., ICCV 2015
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, 15 C, *(S / 32)) and the finer branches, fine to coarse.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        branches = self.branches(x, conditions)
        pooled: list[torch.Tensor] = []
        for i, pool in enumerate(self.pools):
            pooled.append(pool(branches[i]))
        return torch.cat(pooled + branches[-1:], 1), branches[:-1]

    def branches(self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None) -> list[torch.Tensor]:
        """The image (B, in_channels, *S) to all branches (B, C_i, *s_i), fine to coarse."""
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.bn2(self.conv2(x)))  # (B, C, *(S / 4))
        x = self.layer1(x) if conditions is None else self.layer1(x, conditions)
        branches = [x]
        for stage in self.stages:
            branches = stage(branches, conditions)
        return branches

    def forward_order(self) -> list[list[nn.Module]]:
        """The stem, its bottlenecks, each stage."""
        return [[self.conv1, self.bn1, self.conv2, self.bn2], [self.layer1], *([stage] for stage in self.stages)]


def joined(branches: list[torch.Tensor]) -> torch.Tensor:
    """Branches (B, C_i, *s_i), fine to coarse, side by side at the resolution of the first: (B, sum of C_i, *s_0)."""
    size = list(branches[0].shape[2:])
    return torch.cat(branches[:1] + [linear_resize(x, size) for x in branches[1:]], 1)


def _strided(
    spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple | None, stride: int = 2
) -> nn.Sequential:
    """A 3x3 convolution, a norm and, if given, an activation."""
    conv = Conv["conv", spatial_dims](in_channels, out_channels, 3, stride=stride, padding=1, bias=keeps_bias(norm))
    layers = [conv, make_norm(norm, spatial_dims, out_channels)]
    return nn.Sequential(*layers, *([] if act is None else [get_act_layer(act)]))
