"""HRNet for segmentation: all branches at a quarter of the image's size, joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage, linear_resize
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.hrnet import HRNetEncoder, joined
from .unet import SKIPS_PASS_THE_LATENT

HEAD_STRIDE = 4


class JoinedBranches(nn.Module):
    """All branches at the finest one's resolution, a 1x1 convolution, the output and its interpolation (HRNetV2).

    Its features are the branches up to each, joined at that one's resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: width of each branch, fine to coarse.
        out_channels: channels of the output.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self, spatial_dims: int, channels: Sequence[int], out_channels: int, norm: str | None, act: str | tuple
    ) -> None:
        super().__init__()
        self.feature_channels = [sum(channels[i:]) for i in range(len(channels) - 2, -1, -1)]
        self.num_sides = 0
        self.coarsest, self.head_stride = channels[-1], HEAD_STRIDE
        width = self.feature_channels[-1]
        self.head = Stage([ConvBlock(spatial_dims, width, width, norm, act, kernel_size=1)], [width])
        self.output_layer = Conv["conv", spatial_dims](width, out_channels, 1)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """The latent, which ends in the coarsest branch (B, C, *s), and the other branches, fine to coarse, to the
        output (B, out_channels, *S)."""
        features: list[torch.Tensor] = []
        branches = [latent[:, -self.coarsest :]]
        for skip in skips[::-1]:
            branches = [skip] + branches
            features.append(joined(branches))
        x = features[-1]
        x = self.head(x) if conditions is None else self.head(x, conditions)
        features[-1] = x
        size = [self.head_stride * n for n in x.shape[2:]]
        sides: list[torch.Tensor] = []
        return DecoderOutput(linear_resize(self.output_layer(x), size), features, sides)


class HRNet(Backbone):
    """HRNetV2 for segmentation (Sun et al., CVPR 2019; Wang et al., TPAMI 2020).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of the finest branch, 18 or 48 as published; each coarser one has twice that of the one before.
        units: exchange units of the three stages.
        blocks: residual blocks on each branch of a unit.
        stem_channels: width of the stem.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        encoder_weights: file of weights of that width by its authors' or timm's names; None: not used.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 18,
        units: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        stem_channels: int = 64,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        family = ConvFamily(norm=norm, act=act)
        encoder = HRNetEncoder(
            spatial_dims,
            in_channels,
            channels,
            units,
            blocks,
            stem_channels,
            norm,
            act,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        super().__init__(
            encoder,
            JoinedBranches(spatial_dims, encoder.feature_channels, out_channels, norm, act),
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": SKIPS_PASS_THE_LATENT,
                "denoise": interpolated_without_layers(HEAD_STRIDE),
            },
            checkpointing=checkpointing,
        )
