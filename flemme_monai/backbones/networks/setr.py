"""A Vision Transformer whose patches are brought up step by step: SETR."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ChannelLayerNorm, ConditionEmbeddings, ConvBlock, InterpolateUp
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.vit import EPS, ViTTrunk
from ..stages import conv_stage

PATCH = 16
STEPS = 4  # 3x3 convolutions, after each of which the resolution doubles
HEAD_STRIDE = 2  # of the logits, the last time that the resolution doubles
SIDE_WEIGHT = 0.4


class ProgressiveDecoder(nn.Module):
    """[3x3 convolution -> twice the resolution] x 4, the last time of the logits ("PUP").

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the latent.
        channels: of the convolutions.
        out_channels: channels of the output.
        num_sides: features of the encoder of which a side output is made in training.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        out_channels: int,
        num_sides: int,
        norm: str | None,
        act: str | tuple,
    ) -> None:
        super().__init__()
        self.feature_channels, self.num_sides = [channels] * STEPS, num_sides
        self.side_weights = [SIDE_WEIGHT] * num_sides
        self.stages = nn.ModuleList(
            [conv_stage(spatial_dims, (channels if i else in_channels, channels), norm, act) for i in range(STEPS)]
        )
        self.up = InterpolateUp(spatial_dims, channels, channels, [2] * spatial_dims)
        self.output_layer = LogitsHead(spatial_dims, channels, out_channels, [HEAD_STRIDE] * spatial_dims)
        self.side_heads = nn.ModuleList()
        for _ in range(num_sides):
            input_norm = ChannelLayerNorm(in_channels)
            input_norm.eps = EPS
            layers: dict[str, nn.Module] = {
                "input_norm": input_norm,
                "conv": ConvBlock(spatial_dims, in_channels, channels, norm=norm, act=act),
                "up": InterpolateUp(spatial_dims, channels, channels, [4] * spatial_dims),
                "output_layer": Conv["conv", spatial_dims](channels, out_channels, 1),
                "resize": InterpolateUp(spatial_dims, out_channels, out_channels, [4] * spatial_dims),
            }
            self.side_heads.append(nn.Sequential(OrderedDict(layers)))

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *(S / 16)) to the output (B, out_channels, *S).

        Args:
            latent: what the encoder made.
            skips: features of inner blocks, for the side outputs alone, the first block's first.
            conditions: embedded conditions, for the stages.
        """
        x = latent
        features: list[torch.Tensor] = []
        for i, stage in enumerate(self.stages):
            if i > 0:
                x = self.up(x)
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
        sides: list[torch.Tensor] = []
        if self.training:
            for i, head in enumerate(self.side_heads):
                sides.append(head(skips[i]))
        return DecoderOutput(self.output_layer(x), features, sides[::-1])

    def side_layers(self) -> list[nn.Module]:
        """What makes the side outputs."""
        return list(self.side_heads)


class SETR(Backbone):
    """SETR-PUP (Zheng et al., CVPR 2021): a Vision Transformer with progressive upsampling. Its tokens are the patches
    alone, as in the paper; the authors' code carries a class token along.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: of a token; 768 in the base model, 1024 in the large one.
        depth: blocks; 12 and 24.
        num_heads: 12 and 16.
        decoder_channels: of the 3x3 convolutions.
        grid_size: points of the table of positions along each axis.
        taps: blocks, from 0, of whose features the side outputs are made; 9, 14, 19 and 23 in the large model.
        norm: of the decoder: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: of the decoder: any activation MONAI names.
        dropout: probability of dropping an embedded patch, an attention weight or an activation.
        drop_path: probability that a sample skips a branch of the last block, which rises linearly from 0.
        deep_supervision: whether there are side outputs in training.
        encoder_weights: a file of weights of the trunk, by timm's names or JAX's; None: none.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        decoder_channels: int = 256,
        grid_size: int = 14,
        taps: Sequence[int] = (4, 7, 9, 11),
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        deep_supervision: bool = False,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        taps = taps if deep_supervision else ()
        family = ConvFamily(norm=norm, act=act)
        encoder = ViTTrunk(
            spatial_dims,
            in_channels,
            channels,
            depth,
            num_heads,
            PATCH,
            grid_size=grid_size,
            taps=taps,
            dropout=dropout,
            drop_path=drop_path,
            min_latent_positions=family.min_latent_positions,
        )
        load_encoder_weights(encoder, encoder_weights)
        decoder = ProgressiveDecoder(spatial_dims, channels, decoder_channels, out_channels, len(taps), norm, act)
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"denoise": interpolated_without_layers(HEAD_STRIDE)},
            checkpointing=checkpointing,
        )
