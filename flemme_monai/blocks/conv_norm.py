"""A convolution of any stride, dilation and grouping with what follows it."""

from __future__ import annotations

from collections import OrderedDict

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from .layers import make_norm


class ConvNormAct(nn.Sequential):
    """Convolution without a bias before a norm, normalisation, activation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd; a feature keeps its size at stride 1.
        stride: factor by which the feature shrinks along each axis.
        dilation: distance of the kernel's points.
        groups: groups of the convolution.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names, or None.
        num_groups: groups of a group norm.
        bias: whether the convolution has a bias; None: where no norm follows.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: str | None = "batch",
        act: str | tuple | None = "relu",
        num_groups: int = 8,
        bias: bool | None = None,
    ) -> None:
        layers: dict[str, nn.Module] = {
            "conv": Conv["conv", spatial_dims](
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=dilation * (kernel_size - 1) // 2,
                dilation=dilation,
                groups=groups,
                bias=norm is None if bias is None else bias,
            )
        }
        if norm is not None:
            layers["norm"] = make_norm(norm, spatial_dims, out_channels, num_groups)
        if act is not None:
            layers["act"] = get_act_layer(act)
        super().__init__(OrderedDict(layers))


def groups_of_16(channels: int, most: int = 32) -> int:
    """How many groups a group norm has whose groups are 16 channels wide, or more above ``most`` groups."""
    wanted = min(most, max(1, channels // 16))
    return next(groups for groups in range(wanted, 0, -1) if channels % groups == 0)
