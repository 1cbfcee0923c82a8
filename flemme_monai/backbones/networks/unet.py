"""U-Nets of convolutions and pooling alone: ClassicUNet, SCSENet, SimpleUNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import Stage, make_norm
from ...blocks.resampling import InterpolateUp, TransposedConv
from ...blocks.squeeze_excitation import ConcurrentGate
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat, Multiply
from ..stages import StageDecoder, StageEncoder, conv_stage, pooled_encoder

SKIPS_PASS_THE_LATENT = "its skips show the decoder the image past the latent; use an encoder without, such as CNN."


UPS = ("interpolate", "conv")


def unet_halves(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int],
    up: str,
    double_conv: Callable[[int, int, int], Stage],
    family: ConvFamily,
) -> tuple[StageEncoder, StageDecoder]:
    """The halves of a U-Net whose stages have two convolutions.

    Args:
        double_conv: the stage of channels before, between and after its convolutions.
        family: family of its blocks.
        others: as of :class:`ClassicUNet`.

    Raises:
        ValueError: If ``up`` is another word.
    """
    if up not in UPS:
        raise ValueError(f"up is {up!r}; expected one of {', '.join(UPS)}.")
    linear = up == "interpolate"
    levels = [*channels, channels[-1] if linear else 2 * channels[-1]]
    encoder = pooled_encoder(
        spatial_dims,
        in_channels,
        [double_conv(before, after, after) for before, after in zip([in_channels, *levels], levels)],
        levels[-1],
        family.min_latent_positions,
    )
    skips = list(channels[::-1])  # coarse to fine
    after = [*skips[1:], skips[-1]] if linear else skips
    ups: list[nn.Module] = []
    stages: list[Stage] = []
    before = levels[-1]
    for skip, width in zip(skips, after):
        raised = before if linear else skip
        stride = [2] * spatial_dims
        if linear:
            ups.append(InterpolateUp(spatial_dims, before, before, stride))
        else:
            ups.append(TransposedConv(spatial_dims, before, raised, stride, overlap=False))
        stages.append(double_conv(skip + raised, (skip + raised) // 2, width))
        before = width
    output_layer = Conv["conv", spatial_dims](before, out_channels, 1)
    return encoder, StageDecoder(ups, [Cat() for _ in skips], stages, after, output_layer)


class ClassicUNet(Backbone):
    """U-Net (Ronneberger, Fischer, Brox, MICCAI 2015) with padded convolutions and norms, as it is used today.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse.
        up: ``interpolate`` (linear), or ``conv`` (transposed, as published), which has twice the last width at the
            bottom.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If ``up`` is another word.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        up: str = "interpolate",
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        def double_conv(before: int, middle: int, after: int) -> Stage:
            return conv_stage(spatial_dims, (before, middle, after), norm, act, dropout)

        family = ConvFamily(norm=norm, act=act)
        super().__init__(
            *unet_halves(spatial_dims, in_channels, out_channels, channels, up, double_conv, family),
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


class SCSENet(Backbone):
    """U-Net with concurrent squeeze and excitation after each stage (Roy, Navab, Wachinger, MICCAI 2018, TMI 2019).

    Args:
        reduction: the channel gates' hidden width is that of the stage divided by this.
        others: as of :class:`ClassicUNet`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        up: str = "interpolate",
        reduction: int = 2,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        def double_conv(before: int, middle: int, after: int) -> Stage:
            gate = ConcurrentGate(spatial_dims, after, reduction)
            return conv_stage(spatial_dims, (before, middle, after), norm, act, dropout, [gate])

        family = ConvFamily(norm=norm, act=act)
        super().__init__(
            *unet_halves(spatial_dims, in_channels, out_channels, channels, up, double_conv, family),
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


class SimpleUNet(Backbone):
    """JMedSeg's small U-Net (no paper): one convolution per level, and skips that are multiplied.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse; the first has half of the image's resolution.
        norm: ``group`` (of 16 channels each), ``batch``, ``instance``, ``layer`` or None.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        norm: str | None = "group",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        conv, transposed = Conv["conv", spatial_dims], Conv["convtrans", spatial_dims]

        def block(before: int, after: int) -> Stage:
            normed = make_norm(norm, spatial_dims, after, max(1, after // 16))
            layers = nn.Sequential(conv(before, after, 3, padding=1, bias=norm is None), normed, get_act_layer(act))
            return Stage([layers], [after])

        family = ConvFamily(norm=norm, act=act)
        widest_first = list(channels[::-1])
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [Stage([conv(in_channels, channels[0], 2, 2)], [channels[0]]), *map(block, channels, channels[1:])],
            channels[-1],
            family.min_latent_positions,
            first_stride=2,
        )
        pairs = list(pairwise(widest_first))
        decoder = StageDecoder(
            [transposed(a, b, 2, 2, bias=False) for a, b in pairs],
            [Multiply() for _ in pairs],
            [block(b, b) for _, b in pairs],
            widest_first[1:],
            transposed(channels[0], out_channels, 2, 2),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )
