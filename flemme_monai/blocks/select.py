"""Features of several branches, each channel weighed by softmax over the branches (Li et al., SKNet, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .conv import ConvBlock
from .layers import check_two_images, groups_of_16

REDUCTION, MIN_HIDDEN = 16, 32


class SelectiveFusion(nn.Module):
    """The weighted sum of branches: their sum, averaged over positions, says how much of each channel a branch gives.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        branches: number of branches.
        norm: a name of :func:`flemme_monai.blocks.make_norm`; an instance norm is left out, since it would take a mean
            over positions away from itself.
        act: any activation MONAI names.
        residual: whether a 1x1 convolution of the sum is added to it.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        branches: int,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        residual: bool = False,
    ) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, MIN_HIDDEN)
        self.axes = list(range(2, 2 + spatial_dims))
        self.branches = branches
        self.needs_two_images = norm == "batch"
        pooled_norm = None if norm == "instance" else norm
        self.squeeze = ConvBlock(
            spatial_dims,
            channels,
            hidden,
            kernel_size=1,
            norm=pooled_norm,
            act=act,
            num_groups=groups_of_16(hidden),
            bias=False,
        )
        self.weights = Conv["conv", spatial_dims](hidden, channels * branches, 1, bias=False)
        self.proj: nn.Module | None = None
        if residual:
            self.proj = ConvBlock(
                spatial_dims,
                channels,
                channels,
                kernel_size=1,
                norm=norm,
                act=None,
                num_groups=groups_of_16(channels, channels),
                bias=False,
            )
        self.act = get_act_layer(act) if residual else nn.Identity()

    def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
        """As many features (B, C, *s) as branches to one.

        Raises:
            ValueError: If a batch norm sees one image in training.
        """
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        if self.training and self.needs_two_images and not torch.jit.is_scripting():
            check_two_images(total)
        scores = self.weights(self.squeeze(total.mean(self.axes, keepdim=True)))  # (B, branches C, 1, ...)
        shape = [total.shape[0], self.branches, total.shape[1]] + [1] * len(self.axes)
        shares = scores.reshape(shape).softmax(1).unbind(1)
        out = shares[0] * xs[0]
        for share, x in zip(shares[1:], xs[1:]):
            out = out + share * x
        return out if self.proj is None else self.act(out + self.proj(out))


class KernelSelection(nn.Module):
    """Convolutions of several kernel sizes, fused by :class:`SelectiveFusion`.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        kernel_sizes: odd kernel sizes.
        norm, act: as of :class:`SelectiveFusion`.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        norm: str | None = "batch",
        act: str | tuple = "relu",
    ) -> None:
        super().__init__()
        groups = groups_of_16(channels, channels)
        self.convs = nn.ModuleList(
            [
                ConvBlock(spatial_dims, channels, channels, kernel_size=k, norm=norm, act=act, num_groups=groups)
                for k in kernel_sizes
            ]
        )
        self.fuse = SelectiveFusion(spatial_dims, channels, len(kernel_sizes), norm, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to the same shape."""
        branches: list[torch.Tensor] = []
        for conv in self.convs:
            branches.append(conv(x))
        return self.fuse(branches)
