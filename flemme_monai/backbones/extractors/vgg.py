"""VGG without its classifier: five stages of convolutions, a pool after each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ...blocks import ConditionEmbeddings, ConvBlock, Stage
from ..backbone import check_image

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # in each stage, by depth


class FeaturePool(nn.Module):
    """Max pooling that keeps what it pooled. Args: ``spatial_dims``, 2 or 3."""

    def __init__(self, spatial_dims: int) -> None:
        super().__init__()
        self.pool = Pool["max", spatial_dims](2, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``x`` (B, C, *s) to the pooled feature (B, C, *(s / 2)) and ``x``."""
        return self.pool(x), x


class IndexPool(nn.Module):
    """Max pooling that keeps where the maxima were. Args: ``spatial_dims``, 2 or 3."""

    def __init__(self, spatial_dims: int) -> None:
        super().__init__()
        self.pool = Pool["max", spatial_dims](2, 2, return_indices=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``x`` (B, C, *s) to the pooled feature and the indices of its values in ``x``, both (B, C, *(s / 2))."""
        pooled, indices = self.pool(x)
        return pooled, indices


class VGGEncoder(nn.Module):
    """[stage -> pool -> keep] x 5 (VGG: Simonyan, Zisserman, ICLR 2015); takes torchvision's weights of that depth.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        depth: layers with weights in the whole VGG, 11 or 16.
        channels: width of each of the five stages.
        norm: None (as published), ``batch``, ``instance``, ``group`` or ``layer``.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        keep_indices: keep the indices of the pools' maxima instead of the features before the pools.
        min_latent_positions: positions that the latent needs in training; 2 under instance norm.

    Attributes:
        weight_names: torchvision's names, by numbers of all layers in a row, and those here.

    Raises:
        ValueError: If the depth is another, or there are not five widths.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        depth: int = 16,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        norm: str | None = None,
        act: str | tuple = "relu",
        dropout: float = 0.0,
        keep_indices: bool = False,
        min_latent_positions: int = 1,
    ) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise ValueError(f"depth is {depth}; expected one of {', '.join(map(str, CONVOLUTIONS))}.")
        if len(channels) != 5:
            raise ValueError(f"channels is {tuple(channels)}; expected five widths, one per stage.")
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, channels[-1]
        self.size_divisor = [32] * spatial_dims
        self.min_latent_positions = min_latent_positions
        self.stages = nn.ModuleList()
        self.weight_names: list[tuple[str, str]] = []
        before, number = in_channels, 0
        for i, (convolutions, width) in enumerate(zip(CONVOLUTIONS[depth], channels)):
            blocks = [
                ConvBlock(spatial_dims, width if j else before, width, norm, act, dropout=dropout)
                for j in range(convolutions)
            ]
            self.stages.append(Stage(blocks, [width] * convolutions))
            before = width
            for j in range(convolutions):
                for part in ("conv",) if norm is None else ("conv", "norm"):
                    self.weight_names.append((rf"^features\.{number}\.", f"stages.{i}.blocks.{j}.{part}."))
                    number += 1
                number += 1  # an activation
            number += 1  # a pool
        pool = IndexPool if keep_indices else FeaturePool
        self.pools = nn.ModuleList([pool(spatial_dims) for _ in channels])
        for module in self.modules():
            if isinstance(module, _ConvNd):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # He et al., ICCV 2015
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A file's tensors, whose convolutions have biases before norms too, for a trunk where they have none there.

        The mean that the norm takes away is smaller by the bias.

        Args:
            state: tensors by torchvision's names.
        """
        found = dict(state)
        for key in state:
            match = re.fullmatch(r"features\.(\d+)\.bias", key)
            mean = f"features.{int(match[1]) + 1}.running_mean" if match else ""
            if mean in state:
                found[mean] = state[mean] - found.pop(key)
        return found

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *(S / 32)) and what the pools keep, fine to coarse.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        skips: list[torch.Tensor] = []
        for stage, pool in zip(self.stages, self.pools):
            x = stage(x) if conditions is None else stage(x, conditions)
            x, skip = pool(x)
            skips.append(skip)
        return x, skips
