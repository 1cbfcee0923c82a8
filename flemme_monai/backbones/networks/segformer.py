"""A Mix Transformer under a head of linear maps: SegFormer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, Stage, linear_resize
from ..backbone import Backbone, DecoderOutput
from ..conditioning import ConditioningConfig
from ..context_head import LogitsHead, interpolated_without_layers
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.mit import NUM_HEADS, MixTransformer

HEAD_STRIDE = 4
# channels and blocks of each stage, channels of the head
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "B0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "B1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "B2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "B3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "B4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "B5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}


class LinearHead(nn.Module):
    """A linear map of each feature to one width, all at a quarter of the image's size, fused by a 1x1 convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features, fine to coarse.
        channels: to which each is mapped.
        out_channels: channels of the output.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped before the output layer.
    """

    # names of transformers' files, of transformers 5 in memory, and of the authors' files
    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        *((rf"^decode_head\.linear_c{i + 1}\.proj\.", f"stages.{3 - i}.blocks.0.") for i in range(4)),
        *(
            (rf"^decode_head\.(?:linear_c|linear_projections)\.{i}\.proj\.", f"stages.{3 - i}.blocks.0.")
            for i in range(4)
        ),
        (r"^decode_head\.linear_fuse\.(?:conv\.)?weight", "fuse.blocks.0.conv.weight"),
        (r"^decode_head\.(?:linear_fuse\.bn|batch_norm)\.", "fuse.blocks.0.norm."),
        (r"^decode_head\.(?:linear_pred|classifier)\.", "output_layer.conv."),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        channels: int,
        out_channels: int,
        norm: str | None,
        act: str | tuple,
        dropout: float,
    ) -> None:
        super().__init__()
        conv, self.spatial_dims = Conv["conv", spatial_dims], spatial_dims
        self.feature_channels, self.num_sides = [channels] * len(in_channels), 0
        self.stages = nn.ModuleList([Stage([conv(width, channels, 1)], [channels]) for width in in_channels[::-1]])
        fuse = ConvBlock(
            spatial_dims, len(in_channels) * channels, channels, kernel_size=1, norm=norm, act=act, bias=False
        )
        self.fuse = Stage([fuse], [channels])
        self.output_layer = LogitsHead(spatial_dims, channels, out_channels, [HEAD_STRIDE] * spatial_dims, dropout)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *(S / 32)) and the features at strides 4, 8, 16 to the output and the mapped features.

        Args:
            latent: what the encoder made.
            skips: the features that it kept, fine to coarse.
            conditions: embedded conditions, for the stages.
        """
        inputs = skips + [latent]
        size = list(skips[0].shape[2:])
        features: list[torch.Tensor] = []
        maps: list[torch.Tensor] = []
        for i, stage in enumerate(self.stages):
            x = inputs[len(inputs) - 1 - i]
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
            maps.append(linear_resize(x, size))
        x = torch.cat(maps, 1)
        x = self.fuse(x) if conditions is None else self.fuse(x, conditions)
        sides: list[torch.Tensor] = []
        return DecoderOutput(self.output_layer(x), features, sides)

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A file's tensors of the head, whose linear maps are 1x1 convolutions here."""
        extent, own = [1] * self.spatial_dims, {k: t for k, t in state.items() if k.startswith("decode_head.")}
        return {key: t.reshape(*t.shape, *extent) if t.ndim == 2 else t for key, t in own.items()}


class SegFormer(Backbone):
    """SegFormer (Xie et al., NeurIPS 2021).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        size: ``B0`` to ``B5``.
        channels: of each stage; None: those of the size.
        depths: blocks of each stage; None: those of the size.
        num_heads: of each stage.
        head_channels: of the head; None: those of the size.
        norm: of the head: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: of the head: any activation MONAI names.
        dropout: probability that a channel is dropped before the output layer.
        drop_path: probability that a sample skips a branch of the last block, which rises linearly from 0.
        encoder_weights: a file of weights of the trunk, by transformers' names, smp's or the authors'; None: none.
        weights: a file of weights of trunk and head, such as published checkpoints of segmentations, by the same names;
            a head of other classes keeps its random output layer.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the size is another.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        size: str = "B0",
        channels: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] = NUM_HEADS,
        head_channels: int | None = None,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        drop_path: float = 0.1,
        encoder_weights: str | None = None,
        weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if size.upper() not in SIZES:
            raise ValueError(f"size is {size!r}; expected one of {', '.join(SIZES)}.")
        published, family = SIZES[size.upper()], ConvFamily(norm=norm, act=act)
        encoder = MixTransformer(
            spatial_dims,
            in_channels,
            published[0] if channels is None else channels,
            published[1] if depths is None else depths,
            num_heads,
            drop_path=drop_path,
            min_latent_positions=family.min_latent_positions,
        )
        width = published[2] if head_channels is None else head_channels
        head = LinearHead(spatial_dims, encoder.feature_channels, width, out_channels, norm, act, dropout)
        load_encoder_weights(encoder, encoder_weights)
        for half in (encoder, head):
            load_encoder_weights(half, weights, "weights")
        super().__init__(
            encoder,
            head,
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": "its head sees the encoder's features past the latent.",
                "denoise": interpolated_without_layers(HEAD_STRIDE),
            },
            checkpointing=checkpointing,
        )
