"""ResUNet."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import Stage
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnet import ResNet
from ..fuses import CatUp
from ..stages import StageDecoder, conv_stage
from .unet import SKIPS_PASS_THE_LATENT


class ResUNet(Backbone):
    """ResUNet of JMedSeg (no paper): a U-Net on the first three stages of a ResNet (He et al., CVPR 2016).

    Each level concatenates the trunk's feature, then doubles the resolution, then has two convolutions. The deep
    residual U-Net of Zhang, Liu and Wang (GRSL 2018) is another network.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        depth: of the ResNet.
        channels: width of its stem and first stage.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution of the decoder.
        encoder_weights: file of the ResNet's weights by torchvision's or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 101,
        channels: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        trunk = ResNet(spatial_dims, in_channels, depth, channels, num_stages=3, keep=[True] * 4, norm=norm, act=act)
        load_encoder_weights(trunk, encoder_weights)

        def double_conv(before: int, middle: int, after: int) -> Stage:
            return conv_stage(spatial_dims, (before, middle, after), norm, act, dropout)

        latent = before = trunk.latent_channels
        skips = trunk.feature_channels[::-1]  # coarse to fine, the latent too
        after = [latent // 2 ** (i + 1) for i in range(len(skips))]
        stages = []
        for skip, width in zip(skips, after):
            stages.append(double_conv(skip + before, (skip + before) // 2, width))
            before = width
        decoder = StageDecoder(
            [nn.Identity() for _ in skips],
            [CatUp() for _ in skips],
            stages,
            after,
            Conv["conv", spatial_dims](before, out_channels, 1),
            center=double_conv(latent, latent, latent),
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
