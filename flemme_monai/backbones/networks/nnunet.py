"""The two networks of nnU-Net, with strides and kernels per axis: PlainConvUNet and ResEncUNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv, Dropout, Pool
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import Stage, TransposedConv, make_norm
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import CatLast
from ..stages import StageDecoder, StageEncoder
from .unet import SKIPS_PASS_THE_LATENT

PerStage = int | Sequence[int | Sequence[int]]
CHANNELS = {2: (32, 64, 128, 256, 512, 512), 3: (32, 64, 128, 256, 320, 320)}  # nnU-Net doubles to 512 or 320
SLOPE = 0.01  # of the leaky ReLU that the weights begin for


class NNUNetConv(nn.Sequential):
    """Convolution with a bias, dropout, norm, activation, with kernel and stride per axis.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd size along each axis.
        stride: factor along each axis.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names, or None.
        dropout: probability that a whole channel is dropped.
        bias: whether the convolution has a bias.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        norm: str | None,
        act: str | tuple | None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        padding = tuple(k // 2 for k in kernel_size)
        conv = Conv["conv", spatial_dims](
            in_channels, out_channels, tuple(kernel_size), tuple(stride), padding, bias=bias
        )
        layers: dict[str, nn.Module] = {"conv": conv}
        if dropout:
            layers["dropout"] = Dropout["dropout", spatial_dims](dropout)
        if norm is not None:
            layers["norm"] = make_norm(norm, spatial_dims, out_channels)
        if act is not None:
            layers["act"] = get_act_layer(act)
        super().__init__(OrderedDict(layers))


class NNUNetResBlock(nn.Module):
    """Two convolutions around a shortcut that is pooled, then projected (ResNet-D, He et al. 2019).

    Args: as of :class:`NNUNetConv`; stride and dropout are the first convolution's.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        norm: str | None,
        act: str | tuple,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        one = [1] * spatial_dims
        self.conv1 = NNUNetConv(spatial_dims, in_channels, out_channels, kernel_size, stride, norm, act, dropout)
        self.conv2 = NNUNetConv(spatial_dims, out_channels, out_channels, kernel_size, one, norm, None)
        shortcut: dict[str, nn.Module] = {}
        if max(stride) > 1:
            shortcut["pool"] = Pool["avg", spatial_dims](tuple(stride), tuple(stride))
        if in_channels != out_channels:
            shortcut["proj"] = NNUNetConv(spatial_dims, in_channels, out_channels, one, one, norm, None, bias=False)
        self.shortcut = nn.Sequential(OrderedDict(shortcut))
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C_in, *s) to (B, C_out, *(s / stride))."""
        return self.act(self.conv2(self.conv1(x)) + self.shortcut(x))


class PlainConvUNet(Backbone):
    """nnU-Net's plain network (Isensee, Jaeger, Kohl, Petersen, Maier-Hein, Nature Methods 2021).

    The first convolution of a stage is strided, the way up is transposed convolutions. Convolutions have biases also
    before a norm, so nnU-Net's weights fit. Under deep supervision, each decoder stage but the coarsest, whose weight
    is 0 in nnU-Net, makes an output; weights halve from stage to stage.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each stage, fine to coarse; None takes six, which double from 32 to 512 (2D) or 320 (3D).
        strides: of the first convolution of each stage, the first 1: entries of a number, or one number per axis, as
            in nnU-Net's plans; a number is that of all stages after the first.
        kernel_sizes: odd sizes of the convolutions of each stage, as ``strides``; a number is that of all stages.
        num_blocks: blocks in each stage of the encoder: convolutions, or residual blocks; a number, or one per stage.
        num_decoder_blocks: convolutions in each stage of the decoder; a number, or one per stage, coarse to fine.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        deep_supervision: whether stages of the decoder make outputs in training.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If settings do not fit each other; the message names them.
    """

    residual: ClassVar[bool] = False

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] | None = None,
        strides: PerStage = 2,
        kernel_sizes: PerStage = 3,
        num_blocks: int | Sequence[int] = 2,
        num_decoder_blocks: int | Sequence[int] = 2,
        norm: str | None = "instance",
        act: str | tuple = "leakyrelu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        levels = list(CHANNELS[spatial_dims] if channels is None else channels)
        depth = len(levels)
        if depth < (4 if deep_supervision else 2):
            needed = "four stages or more under deep supervision" if deep_supervision else "two stages or more"
            raise ValueError(f"channels is {levels}; expected {needed}.")
        steps = _per_stage([1] + [strides] * (depth - 1) if isinstance(strides, int) else strides, levels, "strides")
        stride = [_per_axis(entry, spatial_dims, "strides") for entry in steps]
        kernel = [_per_axis(k, spatial_dims, "kernel_sizes") for k in _per_stage(kernel_sizes, levels, "kernel_sizes")]
        if max(stride[0]) > 1:
            raise ValueError(f"strides is {strides}; expected 1 for the first stage, which makes the output's size.")
        if any(k % 2 == 0 for sizes in kernel for k in sizes):
            raise ValueError(f"kernel_sizes is {kernel_sizes}; expected odd numbers, so that features keep their size.")
        blocks = _per_stage(num_blocks, levels, "num_blocks")
        decoder_blocks = _per_stage(num_decoder_blocks, levels[1:], "num_decoder_blocks")
        one, rest = [1] * spatial_dims, (norm, act, dropout)

        def stage(block: type[nn.Module], number: int, before: int, level: int, first: Sequence[int]) -> Stage:
            after = levels[level]
            made = [block(spatial_dims, before, after, kernel[level], first, *rest)]
            made += [block(spatial_dims, after, after, kernel[level], one, *rest) for _ in range(number - 1)]
            return Stage(made, [after] * number)

        family = ConvFamily(norm=norm, act=act)
        stem = NNUNetConv(spatial_dims, in_channels, levels[0], kernel[0], one, *rest) if self.residual else None
        before = [in_channels if stem is None else levels[0], *levels]
        block = NNUNetResBlock if self.residual else NNUNetConv
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            downs=[nn.Identity() if stem is None else stem, *(nn.Identity() for _ in levels[1:])],
            stages=[stage(block, blocks[i], before[i], i, stride[i]) for i in range(depth)],
            strides=stride,
            latent_channels=levels[-1],
            min_latent_positions=family.min_latent_positions,
        )
        up_to = list(range(depth - 1))[::-1]  # the level that each stage of the decoder makes
        conv, supervised = Conv["conv", spatial_dims], up_to[1:-1] if deep_supervision else []
        decoder = StageDecoder(
            ups=[TransposedConv(spatial_dims, levels[i + 1], levels[i], stride[i + 1], overlap=False) for i in up_to],
            fuses=[CatLast() for _ in up_to],
            stages=[stage(NNUNetConv, number, 2 * levels[i], i, one) for i, number in zip(up_to, decoder_blocks)],
            feature_channels=[levels[i] for i in up_to],
            output_layer=conv(levels[0], out_channels, 1),
            side_heads=[conv(levels[i], out_channels, 1) if i in supervised else None for i in up_to],
            side_weights=[0.5**i for i in supervised[::-1]],
        )
        for half in (encoder, decoder):
            half.apply(begin_as_nnunet)
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )
        self.resolve_config(channels=levels)


class ResEncUNet(PlainConvUNet):
    """nnU-Net's network with a residual encoder (Isensee et al., nnU-Net Revisited, MICCAI 2024).

    Args: as of :class:`PlainConvUNet`; ``num_blocks`` are residual blocks, by default those of its six stages.
    """

    residual = True

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] | None = None,
        strides: PerStage = 2,
        kernel_sizes: PerStage = 3,
        num_blocks: int | Sequence[int] = (1, 3, 4, 6, 6, 6),
        num_decoder_blocks: int | Sequence[int] = 1,
        norm: str | None = "instance",
        act: str | tuple = "leakyrelu",
        dropout: float = 0.0,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            channels,
            strides,
            kernel_sizes,
            num_blocks,
            num_decoder_blocks,
            norm,
            act,
            dropout,
            deep_supervision,
            conditioning,
            checkpointing,
        )


def begin_as_nnunet(module: nn.Module) -> None:
    """Set weights as nnU-Net begins: He et al. 2015 for a leaky ReLU; a residual block begins as its shortcut."""
    if isinstance(module, nn.modules.conv._ConvNd):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, NNUNetResBlock):
        norm = getattr(module.conv2, "norm", None)
        if norm is not None:
            nn.init.zeros_(norm.weight)


def _per_axis(entry: int | Sequence[int], spatial_dims: int, name: str) -> list[int]:
    """One number for each axis."""
    numbers = [entry] * spatial_dims if isinstance(entry, int) else list(entry)
    if len(numbers) != spatial_dims or not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ValueError(f"{name} has {entry}; expected a positive number, or {spatial_dims} of them, one per axis.")
    return numbers


def _per_stage(setting: int | Sequence, levels: Sequence[int], name: str) -> list:
    """One entry for each stage."""
    entries = [setting] * len(levels) if isinstance(setting, int) else list(setting)
    if len(entries) != len(levels):
        raise ValueError(f"{name} is {setting}; expected a number, or one entry for each of {len(levels)} stages.")
    return entries
