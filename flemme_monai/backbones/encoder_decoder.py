"""The one encoder-decoder behind every composed backbone: a block family and a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from ..blocks import ConditionEmbeddings, PositionEmbedding, VectorBottleneck
from .backbone import Backbone, DecoderOutput, check_image
from .conditioning import ConditioningConfig
from .connections import Connection
from .family import BlockFamily
from .layout import FeatureSpec, StageLayout


class Encoder(nn.Module):
    """image -> patch embedding -> [fuse -> blocks -> keep -> down] x stages -> middle blocks -> latent.

    Args:
        layout: resolutions, widths and depths.
        family: makes the blocks.
        connection: which earlier features a stage sees.
        in_channels: channels of the image.
        use_position_embedding: whether an absolute position embedding is added after the patch embedding.
        use_channels_last: whether features are channels_last in memory.
        drop_path: largest probability that a sample skips a residual branch.

    Attributes:
        size_divisor: total stride along each axis; image sizes must be multiples of it.
        latent_channels: channels of the latent.
        features: every feature that a later stage may see, the latent last.
    """

    def __init__(
        self,
        layout: StageLayout,
        family: BlockFamily,
        connection: Connection,
        in_channels: int,
        use_position_embedding: bool,
        use_channels_last: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        dims, width = layout.spatial_dims, layout.patch_channels
        rates = layout.encoder_drop_path_rates(drop_path)
        self.spatial_dims, self.in_channels, self.use_channels_last = dims, in_channels, use_channels_last
        self.size_divisor = layout.total_strides[-1]
        self.min_latent_positions = family.min_latent_positions
        self.sees_a_set = family.sees_a_set
        self.patch_embedding = family.patch_embedding(dims, in_channels, width, layout.patch)
        self.position_embedding = PositionEmbedding(dims, width) if use_position_embedding else None
        self.input_channels = width
        self.input_conditioning: nn.Module | None = None
        self.fuse, self.stages, self.down = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.features: list[FeatureSpec] = []
        following = [*layout.channels[1:], layout.middle_channels[0]]
        for level, channels in enumerate(layout.channels):
            fuse, fused = connection.encoder_fuse(dims, layout.feature(width, level), self.features[:-1])
            self.fuse.append(fuse)
            self.stages.append(family.stage(dims, fused, channels, level, rates[level]))
            down, width = family.down_to_next(dims, channels, following[level], layout.stage_strides[level], level)
            self.down.append(down)
            self.features.append(layout.feature(channels, level))
        self.middle_fuse, width = connection.encoder_fuse(dims, layout.feature(width, layout.depth), self.features[:-1])
        self.middle = nn.ModuleList()
        for channels, rate in zip(layout.middle_channels, rates[layout.depth :]):
            self.middle.append(family.stage(dims, width, channels, layout.depth, rate))
            width = channels
        self.features.append(layout.feature(width, layout.depth))
        self.latent_channels = width

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *s) and the stages' features, fine to coarse.

        Args:
            x: the image.
            conditions: embedded conditions, for the stages.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        if self.use_channels_last:
            x = x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
        x = self.patch_embedding(x)  # (B, C_0, *(S / patch))
        if self.position_embedding is not None:
            x = self.position_embedding(x)
        if self.input_conditioning is not None and conditions is not None:
            x = self.input_conditioning(x, conditions)
        skips: list[torch.Tensor] = []
        for fuse, stage, down in zip(self.fuse, self.stages, self.down):
            x = fuse(x, skips)
            x = stage(x) if conditions is None else stage(x, conditions)
            skips.append(x)
            x = down(x)
        x = self.middle_fuse(x, skips)
        for stage in self.middle:
            x = stage(x) if conditions is None else stage(x, conditions)
        return x, skips

    def forward_order(self) -> list[list[nn.Module]]:
        """The patch embedding with what is added to it; each stage; each group of middle blocks."""
        added = [module for module in (self.position_embedding, self.input_conditioning) if module is not None]
        stages = [list(level) for level in zip(self.fuse, self.stages, self.down)]
        middle = [[self.middle_fuse, *self.middle[:1]], *([stage] for stage in self.middle[1:])]
        return [[self.patch_embedding, *added], *stages, *middle]

    def token_embedding(self) -> nn.Module | None:
        """What the stages of a family that sees positions as a set take their tokens from."""
        if not self.sees_a_set:
            return None
        return self.patch_embedding if self.position_embedding is None else self.position_embedding


class Decoder(nn.Module):
    """latent -> [up -> fuse -> blocks] x stages -> final blocks -> patch recovery -> output.

    Args:
        layout: resolutions, widths and depths.
        family: makes the blocks.
        connection: which earlier features a stage sees.
        features: the encoder's features, the latent last.
        out_channels: channels of the output.
        drop_path: largest probability that a sample skips a residual branch.

    Attributes:
        feature_channels: channels of the stages' features, coarse to fine.
    """

    def __init__(
        self,
        layout: StageLayout,
        family: BlockFamily,
        connection: Connection,
        features: Sequence[FeatureSpec],
        out_channels: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        dims, width = layout.spatial_dims, features[-1].channels
        rates = layout.decoder_drop_path_rates(drop_path)
        self.input_channels = width
        self.input_conditioning: nn.Module | None = None
        self.up, self.fuse, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        made = list(features)
        of_stages, of_final = family.of_decoder(), family.of_final()
        for level, rate in zip(reversed(range(layout.depth)), rates):
            channels = layout.channels[level]
            self.up.append(family.up_to_level(dims, width, channels, layout.stage_strides[level], level))
            fuse, fused = connection.decoder_fuse(dims, layout.feature(channels, level), made[:-1], level)
            self.fuse.append(fuse)
            self.stages.append(of_stages.stage(dims, fused, channels, level, rate))
            made.append(layout.feature(channels, level))
            width = channels
        self.feature_channels = list(layout.channels[::-1])
        self.num_sides = 0
        self.final = nn.ModuleList()
        for channels, rate in zip(layout.final_channels, rates[layout.depth :]):
            self.final.append(of_final.stage(dims, width, channels, 0, rate))
            width = channels
        self.output_layer = family.patch_recovery(dims, width, out_channels, layout.patch)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, C, *s) to the output (B, out_channels, *S) and the stages' features, coarse to fine.

        Args:
            latent: what the encoder made.
            skips: the encoder's features, fine to coarse; without connections none is looked at.
            conditions: embedded conditions, for the stages.
        """
        x = latent
        if self.input_conditioning is not None and conditions is not None:
            x = self.input_conditioning(x, conditions)
        made = skips + [latent]
        features: list[torch.Tensor] = []
        for up, fuse, stage in zip(self.up, self.fuse, self.stages):
            x = fuse(up(x), made)
            x = stage(x) if conditions is None else stage(x, conditions)
            made.append(x)
            features.append(x)
        for stage in self.final:
            x = stage(x) if conditions is None else stage(x, conditions)
        sides: list[torch.Tensor] = []
        return DecoderOutput(self.output_layer(x), features, sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """Each stage, the first with what is added to the latent; each group of final blocks."""
        added = [[self.input_conditioning]] if self.input_conditioning is not None else []
        stages = [list(level) for level in zip(self.up, self.fuse, self.stages)]
        return added + stages + [[stage] for stage in self.final]


class EncoderDecoder(Backbone):
    """An encoder-decoder made of a block family and a connection.

    image -> patch embedding -> [fuse -> blocks -> keep -> down] x stages -> middle blocks -> latent -> [up -> fuse ->
    blocks] x stages -> final blocks -> patch recovery -> output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        family: settings of the blocks; None takes the family's defaults.
        patch_size: pixels of a patch, which becomes one position; one number or one per axis.
        patch_channels: width of the patch embedding.
        channels: width of each stage, fine to coarse; the decoder mirrors them. Without any, the middle blocks see the
            patches themselves.
        middle_channels: width of each group of middle blocks.
        final_channels: width of each group of blocks between the last stage and the patch recovery.
        num_blocks: blocks per stage; one number, or one per level (the stages fine to coarse, then the middle).
        strides: downsampling after each stage: one number, or one entry per stage, each a number or one number per axis
            (thin volumes: ``[[2, 2, 1], [2, 2, 2]]``).
        drop_path: largest probability that a sample skips a residual branch; grows linearly along the encoder, falls
            along the decoder. Halves whose family has no such branches, as convolutional ones, skip none.
        latent_size: length of a vector that the latent passes, for plain encoders only, or the widths of a chain of
            layers to it, of which it is the last; None keeps the latent a feature.
        position_embedding: whether an absolute position embedding is added after the patch embedding; None takes the
            family's.
        conditioning: time steps and context that the network takes; None takes neither.
        checkpointing: recompute each stage's activations in the backward pass instead of keeping them.
        channels_last: memory format of the features; None takes the family's.
        decoder_family: settings of the decoder's blocks, of any family; None takes the encoder's.
        decoder_latent_size: widths of the layers from the vector back to a feature; None mirrors those to it.

    Attributes:
        family_type: the family of the encoder's blocks.
        connection: which earlier features a stage sees.
    """

    family_type: ClassVar[type[BlockFamily]]
    connection: ClassVar[Connection]

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        family: BlockFamily | None = None,
        patch_size: int | Sequence[int] = 2,
        patch_channels: int = 32,
        channels: Sequence[int] = (32, 64),
        middle_channels: Sequence[int] = (128,),
        final_channels: Sequence[int] = (),
        num_blocks: int | Sequence[int] = 2,
        strides: int | Sequence[int | Sequence[int]] = 2,
        drop_path: float = 0.0,
        latent_size: int | Sequence[int] | None = None,
        position_embedding: bool | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
        channels_last: bool | None = None,
        decoder_family: BlockFamily | None = None,
        decoder_latent_size: Sequence[int] | None = None,
    ) -> None:
        family = self.family_type() if family is None else family
        if not isinstance(family, self.family_type):
            raise ValueError(
                f"{type(self).__name__} is made of {self.family_type.__name__} blocks, but family is a "
                f"{type(family).__name__}."
            )
        decoder_family = family if decoder_family is None else decoder_family
        if not isinstance(decoder_family, BlockFamily):
            raise ValueError(
                f"decoder_family is {decoder_family!r}; expected the settings of a family, such as "
                f"{type(family).__name__}()."
            )
        if drop_path and not (family.has_drop_path or decoder_family.has_drop_path):
            raise ValueError(
                f"drop_path is {drop_path}; expected 0 for {type(family).__name__} blocks: set it to 0, or use dropout."
            )
        layout = StageLayout(
            spatial_dims,
            patch_size,
            patch_channels,
            channels,
            middle_channels,
            final_channels,
            num_blocks,
            strides,
        )
        if position_embedding is None:
            position_embedding = family.use_position_embedding
        refusals = {}
        if self.connection.bypasses_latent:
            refusals["decode"] = (
                f"its {self.connection.name} connections show the decoder the image past the latent; use an encoder "
                "without connections, such as CNN."
            )
            if latent_size is not None:
                raise ValueError(
                    f"latent_size={latent_size} with {self.connection.name} connections: the encoder's features would "
                    "bypass the latent vector; use an encoder without connections."
                )
        encoder = Encoder(
            layout,
            family,
            self.connection,
            in_channels,
            position_embedding,
            family.use_channels_last if channels_last is None else channels_last,
            drop_path if family.has_drop_path else 0.0,
        )
        encoder.min_latent_positions = max(family.min_latent_positions, decoder_family.min_latent_positions)
        bottleneck = None
        if latent_size is not None:
            bottleneck = VectorBottleneck(
                spatial_dims, encoder.latent_channels, latent_size, decoder_size=decoder_latent_size
            )
        elif decoder_latent_size is not None:
            raise ValueError("decoder_latent_size has no use without a latent_size; leave it out.")
        decoder = Decoder(
            layout,
            decoder_family,
            self.connection,
            encoder.features,
            out_channels,
            drop_path if decoder_family.has_drop_path else 0.0,
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            decoder_family,
            conditioning,
            bottleneck,
            refusals,
            encoder_family=family,
            context_patch=layout.patch,
            checkpointing=checkpointing,
        )
        self.resolve_config(family=family, position_embedding=position_embedding)
