"""LinkNets under dilated context: DLinkNet, CENet."""

from __future__ import annotations

from collections import OrderedDict

from monai.networks.layers.factories import Conv, Dropout
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import ConvBlock, Stage, TransposedConv, make_norm
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
            width, width, 3, stride=2, padding=1, output_padding=1, bias=norm not in ("batch", "instance")
        )
        super().__init__(
            OrderedDict(
                conv1=ConvBlock(spatial_dims, in_channels, width, norm, act, kernel_size=1),
                up=nn.Sequential(up, make_norm(norm, spatial_dims, width), get_act_layer(act)),
                conv2=ConvBlock(spatial_dims, width, out_channels, norm, act, kernel_size=1),
            )
        )


class _LinkNet(Backbone):
    """A ResNet, a centre, and LinkNet's way up, which adds the trunk's features."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int,
        channels: int,
        head_channels: int,
        norm: str | None,
        act: str | tuple,
        dropout: float,
        encoder_weights: str | None,
        conditioning: ConditioningConfig | None,
        checkpointing: bool,
    ) -> None:
        trunk = ResNet(spatial_dims, in_channels, depth, channels, keep=[False, True, True, True], norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)
        center, before = self._center(spatial_dims, trunk.latent_channels, act)
        *skips, _ = trunk.feature_channels[1:]
        after = [*skips[::-1], skips[0]]  # coarse to fine; the last one has no skip
        ups: list[nn.Module] = [LinkUp(spatial_dims, a, b, norm, act) for a, b in zip([before, *after], after)]
        stages = [Stage([Dropout["dropout", spatial_dims](dropout)], [width]) for width in after]
        last = TransposedConv(spatial_dims, after[-1], head_channels, [2] * spatial_dims)
        ups.append(nn.Sequential(OrderedDict(conv=last, act=get_act_layer(act))))
        stages.append(Stage([ConvBlock(spatial_dims, head_channels, head_channels, None, act)], [head_channels]))
        decoder = StageDecoder(
            ups,
            [*(Add() for _ in skips), nn.Identity(), nn.Identity()],
            stages,
            [*after, head_channels],
            Conv["conv", spatial_dims](head_channels, out_channels, 3, padding=1),
            center=center,
        )
        super().__init__(
            trunk,
            decoder,
            out_channels,
            ConvFamily(norm=norm, act=act),
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )

    def _center(self, spatial_dims: int, channels: int, act: str | tuple) -> tuple[Stage, int]:
        """The centre, from the trunk's last feature, and the channels after it."""
        raise NotImplementedError


class DLinkNet(_LinkNet):
    """D-LinkNet (Zhou, Zhang, Wu, CVPR workshops 2018): LinkNet on a ResNet, a cascade of dilated convolutions between.

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
        sizes = spatial_dims, in_channels, out_channels, depth, channels, head_channels
        super().__init__(*sizes, norm, act, dropout, encoder_weights, conditioning, checkpointing)

    def _center(self, spatial_dims: int, channels: int, act: str | tuple) -> tuple[Stage, int]:
        """The cascade; dilations up to 8, as published for ResNet-34."""
        return Stage([DilatedCascade(spatial_dims, channels, act=act)], [channels]), channels


class CENet(_LinkNet):
    """CE-Net (Gu et al., TMI 2019): LinkNet on a ResNet, with dense atrous convolution and multi-kernel pooling between.

    Args:
        spatial_dims, in_channels, out_channels, depth, channels, head_channels, norm, act, dropout: as of
            :class:`DLinkNet`.
        encoder_weights, conditioning, checkpointing: likewise.
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
        sizes = spatial_dims, in_channels, out_channels, depth, channels, head_channels
        super().__init__(*sizes, norm, act, dropout, encoder_weights, conditioning, checkpointing)

    def _center(self, spatial_dims: int, channels: int, act: str | tuple) -> tuple[Stage, int]:
        """DAC, then RMP."""
        pooling = ResidualMultiPooling(spatial_dims, channels)
        blocks = [DenseAtrousConv(spatial_dims, channels, act), pooling]
        return Stage(blocks, [channels, pooling.out_channels]), pooling.out_channels
