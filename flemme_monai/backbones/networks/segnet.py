"""SegNet: a decoder that puts values back where the encoder's pools took them from."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConvBlock, Stage
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.vgg import CONVOLUTIONS, VGGEncoder
from ..fuses import Unpool
from ..stages import StageDecoder


class SegNet(Backbone):
    """SegNet (Badrinarayanan, Kendall, Cipolla, TPAMI 2017): VGG16 with norms, and its mirror image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each of the five stages, fine to coarse.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        encoder_weights: file of weights of vgg16_bn by torchvision's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family = ConvFamily(norm=norm, act=act)
        encoder = VGGEncoder(
            spatial_dims,
            in_channels,
            16,
            channels,
            norm,
            act,
            dropout,
            keep_indices=True,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        stages: list[Stage] = []
        features: list[int] = []
        for i in range(4, -1, -1):
            after = channels[max(i - 1, 0)]
            # the convolutions of the encoder's stage in reverse; the finest one's first is the output layer
            repeated = [channels[i]] * (CONVOLUTIONS[16][i] - 1)
            outs = [*repeated, after] if i else repeated
            blocks = [
                ConvBlock(spatial_dims, a, b, norm, act, dropout=dropout) for a, b in zip([channels[i], *outs], outs)
            ]
            stages.append(Stage(blocks, outs))
            features.append(after)
        decoder = StageDecoder(
            [nn.Identity() for _ in stages],
            [Unpool() for _ in stages],
            stages,
            features,
            Conv["conv", spatial_dims](channels[0], out_channels, 3, padding=1),
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": "its decoder needs to know where the encoder's pools found their maxima."},
            checkpointing=checkpointing,
        )
