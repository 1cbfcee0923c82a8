"""LinkNets under dilated context: DLinkNet, CENet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from monai.networks.layers.factories import Conv, Dropout
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import ConvBlock, Stage, TransposedConv, keeps_bias, make_norm
from ...blocks.dilated_context import DenseAtrousConv, DilatedCascade, ResidualMultiPooling
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet
from ..fuses import Add
from ..stages import StageDecoder
from .unet import SKIPS_PASS_THE_LATENT


class LinkUp(nn.Sequential):
    """Twice the resolution through a quarter of the channels (LinkNet, Chaurasia and Culurciello, VCIP 2017).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, norm: str | None, act: str | tuple
    ) -> None:
        width = in_channels // 4
        up = Conv["convtrans", spatial_dims](
            width, width, 3, stride=2, padding=1, output_padding=1, bias=keeps_bias(norm)
        )
        super().__init__(
            OrderedDict(
                conv1=ConvBlock(spatial_dims, in_channels, width, norm, act, kernel_size=1),
                up=nn.Sequential(up, make_norm(norm, spatial_dims, width), get_act_layer(act)),
                conv2=ConvBlock(spatial_dims, width, out_channels, norm, act, kernel_size=1),
            )
        )


class DLinkNet(Backbone):
    """D-LinkNet (Zhou, Zhang, Wu, CVPR workshops 2018): LinkNet on a ResNet, a cascade of dilated convolutions between.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        dilations: of the cascade.
        head_channels: width at the image's resolution.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a skip is added.
        encoder_weights: file of the ResNet's weights by torchvision's or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 34,
        channels: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8),
        head_channels: int = 32,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = _trunk(spatial_dims, in_channels, depth, channels, norm, act, encoder_weights)
        latent = trunk.latent_channels
        center = Stage([DilatedCascade(spatial_dims, latent, dilations, act)], [latent])
        super().__init__(
            trunk,
            _decoder(spatial_dims, trunk, center, latent, head_channels, out_channels, norm, act, dropout),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


class CENet(Backbone):
    """CE-Net (Gu et al., TMI 2019): LinkNet on a ResNet, dense atrous convolution and multi-kernel pooling between.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        head_channels: width at the image's resolution.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a skip is added.
        encoder_weights: file of the ResNet's weights by torchvision's or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 34,
        channels: int = 64,
        head_channels: int = 32,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = _trunk(spatial_dims, in_channels, depth, channels, norm, act, encoder_weights)
        latent = trunk.latent_channels
        pooling = ResidualMultiPooling(spatial_dims, latent)
        before = pooling.out_channels
        center = Stage([DenseAtrousConv(spatial_dims, latent, act), pooling], [latent, before])
        super().__init__(
            trunk,
            _decoder(spatial_dims, trunk, center, before, head_channels, out_channels, norm, act, dropout),
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


def _trunk(
    spatial_dims: int,
    in_channels: int,
    depth: int,
    channels: int,
    norm: str | None,
    act: str | tuple,
    encoder_weights: str | None,
) -> ResNet:
    """A ResNet that keeps the features of its first three stages."""
    keep = [False, True, True, True]
    trunk = ResNet(spatial_dims, in_channels, depth, channels, keep=keep, norm=norm, act=act)
    load_encoder_weights(trunk, encoder_weights)
    return trunk


def _decoder(
    spatial_dims: int,
    trunk: ResNet,
    center: Stage,
    before: int,
    head_channels: int,
    out_channels: int,
    norm: str | None,
    act: str | tuple,
    dropout: float,
) -> StageDecoder:
    """LinkNet's way up, which adds the trunk's features.

    Args:
        before: channels after the centre.
    """
    *skips, _ = trunk.feature_channels[1:]
    after = [*skips[::-1], skips[0]]  # coarse to fine; the last one has no skip
    ups: list[nn.Module] = [LinkUp(spatial_dims, a, b, norm, act) for a, b in zip([before, *after], after)]
    stages = [Stage([Dropout["dropout", spatial_dims](dropout)], [width]) for width in after]
    to_image = TransposedConv(spatial_dims, after[-1], head_channels, [2] * spatial_dims)
    ups.append(nn.Sequential(OrderedDict(conv=to_image, act=get_act_layer(act))))
    stages.append(Stage([ConvBlock(spatial_dims, head_channels, head_channels, None, act)], [head_channels]))
    return StageDecoder(
        ups,
        [Add() for _ in ups],
        stages,
        [*after, head_channels],
        Conv["conv", spatial_dims](head_channels, out_channels, 3, padding=1),
        center=center,
    )
