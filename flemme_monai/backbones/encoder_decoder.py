"""The one encoder-decoder behind every composed backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..blocks import PositionEmbedding, Stage
from .connections import DenseConnection, NoConnection, Resample, SkipConnection
from .family import BlockFamily, at_level


class BackboneOutput(NamedTuple):
    """What a backbone gives to an architecture.

    Attributes:
        output: the image (B, out_channels, *S).
        features: the decoder stages' features (B, C_i, *s_i) from coarse to fine.
        latent: the feature (B, C, *s) between encoder and decoder.
    """

    output: torch.Tensor
    features: list[torch.Tensor]
    latent: torch.Tensor


class DenseLatent(nn.Module):
    """A latent vector: the feature is pooled to a small grid, made a vector, and unfolded again.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the feature.
        size: length of the vector.
        grid_size: points along each axis; features of any size are pooled to it, so no weight depends on an image's.
    """

    def __init__(self, spatial_dims: int, channels: int, size: int, grid_size: int = 4) -> None:
        super().__init__()
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.grid = [grid_size] * spatial_dims
        points = grid_size**spatial_dims
        self.to_vector = nn.Linear(channels * points, size)
        self.to_feature = nn.Linear(size, channels * points)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) through a vector (B, size) back to (B, C, *s)."""
        pooled = F.interpolate(x, size=self.grid, mode="area").flatten(1)
        vector = self.to_vector(pooled)
        feature = self.to_feature(vector).view([x.shape[0], x.shape[1]] + self.grid)
        return F.interpolate(feature, size=x.shape[2:], mode=self.mode, align_corners=False)


class EncoderDecoder(nn.Module):
    """An encoder-decoder made of a block family and a connection.

    image -> patch embedding -> [blocks -> keep -> down] x stages -> middle blocks -> latent -> [up -> fuse -> blocks]
    x stages -> final blocks -> patch recovery -> output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        family: settings of the blocks; None takes the family's defaults.
        patch_size: the image's pixels a feature, one number or one an axis.
        patch_channels: width of the patch embedding.
        channels: width of each stage, fine to coarse; the decoder mirrors them.
        middle_channels: width of each group of middle blocks.
        final_channels: width of each group of blocks between the last stage and the patch recovery.
        num_blocks: blocks a stage; one number, or one a level (the stages fine to coarse, then the middle).
        strides: downsampling after each stage: one number, or one entry a stage, each a number or one number an axis
            (thin volumes: ``[[2, 2, 1], [2, 2, 2]]``).
        drop_path: largest probability that a sample skips a residual branch; grows linearly along the encoder, falls
            along the decoder.
        latent_size: length of a dense latent vector, for plain encoders only; None keeps the latent a feature.
        position_embedding: whether an absolute position embedding is added after the patch embedding; None takes the
            family's.
        checkpointing: recompute each stage's activations in the backward pass instead of keeping them.
        channels_last: memory format of the features; None takes the family's.

    Attributes:
        family_type: the class of block family that a subclass is made of.
        connection: which earlier features a stage sees: ``none``, ``skip`` (the encoder's of the same level) or
            ``dense`` (all).
        size_divisor: total stride along each axis; image sizes must be multiples of it.
        latent_channels, feature_channels: widths of what :class:`BackboneOutput` holds.

    Raises:
        ValueError: for settings that do not fit each other; the message names them.
    """

    family_type: ClassVar[type[BlockFamily]]
    connection: ClassVar[str]

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        family: BlockFamily | None = None,
        patch_size: int | Sequence[int] = 2,
        patch_channels: int = 32,
        channels: Sequence[int] = (64, 128),
        middle_channels: Sequence[int] = (256, 256),
        final_channels: Sequence[int] = (),
        num_blocks: int | Sequence[int] = 2,
        strides: int | Sequence[int | Sequence[int]] = 2,
        drop_path: float = 0.0,
        latent_size: int | None = None,
        position_embedding: bool | None = None,
        checkpointing: bool = False,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}; expected 2 or 3.")
        family = self.family_type() if family is None else family
        if not isinstance(family, self.family_type):
            raise ValueError(
                f"{type(self).__name__} is made of {self.family_type.__name__} blocks, but family is a "
                f"{type(family).__name__}."
            )
        if not channels or not middle_channels:
            raise ValueError(
                f"channels {list(channels)} and middle_channels {list(middle_channels)} need at least one width each."
            )
        if latent_size is not None and self.connection != "none":
            raise ValueError(
                f"latent_size={latent_size} with {self.connection} connections: the kept features would bypass the "
                "latent vector; use a plain encoder."
            )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.family = family
        self.channels_last = family.channels_last if channels_last is None else channels_last
        located = family.position_embedding if position_embedding is None else position_embedding
        depth = len(channels)
        patch = _per_axis(patch_size, spatial_dims, "patch_size")
        stage_strides = _per_stage(strides, depth, spatial_dims)
        total = [patch]  # total stride of the features of each level
        for stride in stage_strides:
            total.append([t * s for t, s in zip(total[-1], stride)])
        self.size_divisor = total[-1]
        blocks = [at_level(num_blocks, level, "num_blocks") for level in range(depth + 1)]
        if min(blocks) < 1:
            raise ValueError(f"num_blocks is {num_blocks}; every stage needs at least one block.")
        dense = self.connection == "dense"
        kept: list[tuple[int, list[int]]] = []  # (channels, total stride) of every feature made so far

        # encoder
        rates = _split(0.0, drop_path, blocks[:-1] + [blocks[-1]] * len(middle_channels))
        self.patch_embedding = family.patch_embedding(spatial_dims, in_channels, patch_channels, patch)
        self.position = PositionEmbedding(spatial_dims, patch_channels) if located else nn.Identity()
        self.encoder_fuse, self.encoder, self.down = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = patch_channels
        for level, out in enumerate(channels):
            fuse, fused = _connect(dense, spatial_dims, width, kept, total[level])
            self.encoder_fuse.append(fuse)
            self.encoder.append(family.stage(spatial_dims, fused, out, level, rates[level]))
            self.down.append(family.down(spatial_dims, out, stage_strides[level]))
            kept.append((out, total[level]))
            width = out
        self.middle_fuse, width = _connect(dense, spatial_dims, width, kept, total[-1])
        self.middle = nn.ModuleList()
        for out, rate in zip(middle_channels, rates[depth:]):
            self.middle.append(family.stage(spatial_dims, width, out, depth, rate))
            width = out
        kept.append((width, total[-1]))
        self.latent_channels = width
        self.latent_vector = nn.Identity() if latent_size is None else DenseLatent(spatial_dims, width, latent_size)

        # decoder
        rates = _split(drop_path, 0.0, blocks[:-1][::-1] + [blocks[0]] * len(final_channels))
        self.up, self.decoder_fuse, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            out = channels[level]
            self.up.append(family.up(spatial_dims, width, out, stage_strides[level]))
            if self.connection == "skip":
                fuse, fused = SkipConnection(level), 2 * out
            else:
                fuse, fused = _connect(dense, spatial_dims, out, kept, total[level])
            self.decoder_fuse.append(fuse)
            self.decoder.append(family.stage(spatial_dims, fused, out, level, rates[depth - 1 - level]))
            kept.append((out, total[level]))
            width = out
        self.feature_channels = list(channels[::-1])
        self.final = nn.ModuleList()
        for out, rate in zip(final_channels, rates[depth:]):
            self.final.append(family.stage(spatial_dims, width, out, 0, rate))
            width = out
        self.patch_recovery = family.patch_recovery(spatial_dims, width, out_channels, patch)
        for module in self.modules():
            if isinstance(module, Stage):
                module.checkpointing = checkpointing

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *s) and the stages' features, fine to coarse."""
        if not torch.jit.is_scripting():
            self._check_input(x)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
        x = self.position(self.patch_embedding(x))
        kept: list[torch.Tensor] = []
        for fuse, stage, down in zip(self.encoder_fuse, self.encoder, self.down):
            x = stage(fuse(x, kept))
            kept.append(x)
            x = down(x)
        x = self.middle_fuse(x, kept)
        for stage in self.middle:
            x = stage(x)
        return self.latent_vector(x), kept

    def decode(self, latent: torch.Tensor, kept: list[torch.Tensor]) -> BackboneOutput:
        """A latent and the encoder's features, as :meth:`encode` returns them, to the output and all features."""
        x = latent
        earlier = kept + [latent]
        features: list[torch.Tensor] = []
        for up, fuse, stage in zip(self.up, self.decoder_fuse, self.decoder):
            x = stage(fuse(up(x), earlier))
            earlier.append(x)
            features.append(x)
        for stage in self.final:
            x = stage(x)
        return BackboneOutput(self.patch_recovery(x), features, latent)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> BackboneOutput:
        """The image (B, in_channels, *S) to the output and all that an architecture may need.

        Raises:
            ValueError: for a shape that does not fit, or a condition that this backbone was not built for.
        """
        if timesteps is not None or context is not None:
            raise ValueError(
                "this backbone was built without context channels and takes neither timesteps nor context."
            )
        latent, kept = self.encode(x)
        return self.decode(latent, kept)

    @torch.jit.unused
    def _check_input(self, x: torch.Tensor) -> None:
        if x.ndim != 2 + self.spatial_dims or x.shape[1] != self.in_channels:
            axes = ", ".join("HWD"[: self.spatial_dims])
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this {self.spatial_dims}D network expects "
                f"(batch, {self.in_channels}, {axes}): set spatial_dims and in_channels to what the images have."
            )
        size = [int(n) for n in x.shape[2:]]
        if any(n % d for n, d in zip(size, self.size_divisor)):
            below = tuple(max(n // d, 1) * d for n, d in zip(size, self.size_divisor))
            above = tuple(-(-n // d) * d for n, d in zip(size, self.size_divisor))
            raise ValueError(
                f"image size {tuple(size)} is not divisible by this network's total stride {tuple(self.size_divisor)}; "
                f"sizes that fit are {below} or {above}: crop or pad to one of them."
            )
        if self.family.min_positions > 1 and size == self.size_divisor:
            raise ValueError(
                f"image size {tuple(size)} is the network's total stride: its latent has one position, which "
                f"instance norm cannot normalise; use {tuple(2 * d for d in self.size_divisor)} or more"
            )


def _per_axis(value: int | Sequence[int], spatial_dims: int, name: str) -> list[int]:
    """One number for each axis."""
    values = [value] * spatial_dims if isinstance(value, int) else list(value)
    if len(values) != spatial_dims or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"{name} is {value}; expected a positive number, or {spatial_dims} of them, one an axis.")
    return values


def _per_stage(strides: int | Sequence[int | Sequence[int]], depth: int, spatial_dims: int) -> list[list[int]]:
    """One stride an axis for each stage."""
    entries = [strides] * depth if isinstance(strides, int) else list(strides)
    if len(entries) != depth:
        raise ValueError(f"strides is {strides}; expected a number, or one entry for each of the {depth} stages.")
    return [_per_axis(entry, spatial_dims, "strides") for entry in entries]


def _split(first: float, last: float, counts: Sequence[int]) -> list[list[float]]:
    """Numbers evenly spaced from first to last, ``counts`` of them for each group."""
    values = iter(torch.linspace(first, last, sum(counts)).tolist())
    return [[next(values) for _ in range(count)] for count in counts]


def _connect(
    dense: bool, spatial_dims: int, width: int, kept: Sequence[tuple[int, list[int]]], target: list[int]
) -> tuple[nn.Module, int]:
    """The fusion before a stage of that width, and the width after it; a stage's own input is the last kept feature."""
    if not dense or len(kept) < 2:
        return NoConnection(), width
    resamplers = [Resample(spatial_dims, channels, width, source, target) for channels, source in kept[:-1]]
    return DenseConnection(resamplers), width * (1 + len(resamplers))
