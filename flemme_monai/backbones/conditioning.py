"""Which conditions a backbone takes, and how it uses them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import nn

from ..blocks import (
    INJECTIONS,
    BlockInjection,
    ClassContext,
    ConditionEmbeddings,
    ContextFusion,
    ImageContext,
    PositionContext,
    Stage,
    TimestepEmbedding,
    VectorContext,
    injection,
)
from .context_encoder import ContextEncoder
from .family import BlockFamily

CONTEXTS = ("class", "image", "position", "vector")
COMBINES = ("injection", "add", "cat")
SIDES = ("both", "encoder", "decoder")
SHIFTS = ("bias", "cross_attention", "add", "cat")  # a condition without extent adds a constant to each channel
INJECTION_HEADS = 4


@dataclass(frozen=True)
class ConditioningConfig:
    """Settings of the conditions of a backbone; a setting that nothing would use is refused.

    Args:
        timesteps: whether the network takes time steps; they are injected into every block.
        time_injection: how; None takes ``gate_bias``.
        context: what else it takes: ``class``, ``image``, ``position``, ``vector`` or None.
        context_size: classes, channels of the image, or indices or numbers per sample.
        channels: width of the embeddings.
        combine: ``injection`` into every block (None), or ``add`` or ``cat`` once where a side begins.
        injection: ``gate_bias``, ``gate``, ``bias`` or ``cross_attention``; None takes ``gate_bias``.
        side: ``encoder``, ``decoder`` or ``both`` (None).
        condition_first: whether the context is injected before the time steps.
        drop: probability that a sample's context is taken away in training, for guidance.
        image_depth: blocks of the backbone's family that look at an image's patches.
        image_encoder: dotted path of a backbone whose encoder embeds the image in the place of these patches, such as
            ``flemme_monai.backbones.ViT``; None: not used.
        image_encoder_settings: its arguments, which have the class's defaults else.
        separate_embeddings: whether the decoder has an embedding of the context of its own.

    Raises:
        ValueError: If a name or number is not one of these, or a setting has no use.
    """

    timesteps: bool = False
    time_injection: str | None = None
    context: str | None = None
    context_size: int | None = None
    channels: int = 128
    combine: str | None = None
    injection: str | None = None
    side: str | None = None
    condition_first: bool = False
    drop: float = 0.0
    image_depth: int = 0
    image_encoder: str | None = None
    image_encoder_settings: Mapping[str, Any] | None = None
    separate_embeddings: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("time_injection", self.time_injection, INJECTIONS),
            ("context", self.context, CONTEXTS),
            ("combine", self.combine, COMBINES),
            ("injection", self.injection, INJECTIONS),
            ("side", self.side, SIDES),
        ):
            if value is not None and value not in allowed:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
        if not (self.timesteps or self.context):
            raise ValueError("conditioning names neither timesteps nor a context; leave it out, or name one.")
        if self.context and (self.context_size is None or self.context_size < 1):
            raise ValueError(
                f"context_size is {self.context_size}; expected for a context '{self.context}' the number of classes, "
                "of the image's channels, or of indices or numbers per sample."
            )
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop is {self.drop}; expected a probability below 1.")
        if self.image_depth < 0:
            raise ValueError(
                f"image_depth is {self.image_depth}; expected 0, which is a patch embedding alone, or more."
            )
        injects = self.context is not None and self.combine in (None, "injection")
        for name, used, why in (
            ("time_injection", self.timesteps, "without timesteps"),
            ("context_size", self.context, "without a context"),
            ("combine", self.context, "without a context"),
            ("side", self.context, "without a context"),
            ("drop", self.context, "without a context"),
            ("injection", injects, "without a context that is injected"),
            ("condition_first", injects and self.timesteps, "without timesteps and a context that is injected"),
            ("image_depth", self.context == "image", "without an image as context"),
            ("image_depth", not self.image_encoder, "beside an image_encoder"),
            ("image_encoder", self.context == "image", "without an image as context"),
            ("image_encoder_settings", self.image_encoder, "without an image_encoder"),
            ("separate_embeddings", self.on("encoder") and self.on("decoder"), "without a context of both sides"),
        ):
            if getattr(self, name) and not used:
                raise ValueError(f"{name}={getattr(self, name)} {why} has no use; leave it out.")
        adds = self.time_injection in SHIFTS and (self.injection == "bias" or "injection" in self.channel_shifts)
        if self.condition_first and (adds or self.time_injection == self.injection == "gate"):
            raise ValueError(
                f"condition_first has no use: time_injection={self.time_injection!r} and injection={self.injection!r} "
                "give the same in either order; leave it out."
            )

    @property
    def size(self) -> int:
        """``context_size`` as a number: 0 without a context."""
        return self.context_size or 0

    @property
    def channel_shifts(self) -> list[str]:
        """The settings by which a condition without extent adds a constant to a channel; only an image has extent."""
        names = ["time_injection"] if self.context == "image" else ["time_injection", "injection", "combine"]
        return [name for name in names if getattr(self, name) in SHIFTS]

    def on(self, side: str) -> bool:
        """Whether that side of the network receives the context."""
        return self.context is not None and self.side in (None, "both", side)

    @property
    def injects(self) -> bool:
        """Whether the context goes into every block."""
        return self.combine in (None, "injection")


class InputPlace(Protocol):
    """A half of a backbone where a context can be added or concatenated before its first stage."""

    input_channels: int
    input_conditioning: nn.Module | None


def built_without(name: str) -> str:
    """The message on a condition that a backbone does not have."""
    return f"{name} given, but this backbone was built without; set its conditioning#{name}."


class ConditionEmbedder(nn.Module):
    """Checks and embeds the conditions of a network, and gives its halves the modules that inject them.

    Args:
        settings: which conditions.
        spatial_dims: 2 or 3.
        families: block families of the encoder and of the decoder; the encoder's embeds an image as context.
        patch_size: of an image as context, along each axis.
        size_divisor: what the sizes of images are multiples of, along each axis.

    Attributes:
        settings: as given.

    Raises:
        ValueError: If the norm of a family's blocks would remove a condition.
    """

    def __init__(
        self,
        settings: ConditioningConfig,
        spatial_dims: int,
        families: tuple[BlockFamily, BlockFamily],
        patch_size: Sequence[int],
        size_divisor: Sequence[int],
    ) -> None:
        super().__init__()
        self.settings, self.spatial_dims = settings, spatial_dims
        for side, family in zip(("encoder", "decoder"), families):
            _check_norm(settings, side, family)
        self.time: nn.Module | None = TimestepEmbedding(spatial_dims, settings.channels) if settings.timesteps else None
        self.context = self._embedding(families[0], patch_size, size_divisor)
        self.decoder_context: nn.Module | None = None
        if settings.separate_embeddings:
            self.decoder_context = self._embedding(families[1], patch_size, size_divisor)
        self.null = float("nan") if settings.context == "vector" else -1.0
        self.drop = settings.drop

    def _embedding(
        self, family: BlockFamily, patch_size: Sequence[int], size_divisor: Sequence[int]
    ) -> nn.Module | None:
        """What embeds the context; two of them lose the context of the same samples, see :meth:`_dropped`."""
        settings, spatial_dims = self.settings, self.spatial_dims
        size, width = settings.size, settings.channels
        drop = 0.0 if settings.separate_embeddings else settings.drop
        if settings.context == "class":
            return ClassContext(size, spatial_dims, width, drop)
        if settings.context == "position":
            return PositionContext(size, spatial_dims, width, drop)
        if settings.context == "vector":
            return VectorContext(size, spatial_dims, width, drop)
        if settings.context is None:
            return None
        if settings.image_encoder:
            more = settings.image_encoder_settings or {}
            encoder = ContextEncoder(settings.image_encoder, more, spatial_dims, size, width, size_divisor)
            return ImageContext(encoder, size, spatial_dims, width, drop)
        layers = OrderedDict(patch_embedding=family.patch_embedding(spatial_dims, size, width, patch_size))
        if settings.image_depth:
            layers["stage"] = family.stage(spatial_dims, width, width, 0, [0.0] * settings.image_depth)
        return ImageContext(nn.Sequential(layers), size, spatial_dims, width, drop)

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Standardise the numbers of a vector as context from now on.

        Args:
            mean, std: of each number.

        Raises:
            ValueError: If the context is no vector of as many numbers, or a deviation is not above 0.
        """
        vectors = [module for module in (self.context, self.decoder_context) if isinstance(module, VectorContext)]
        if not vectors or not len(mean) == len(std) == self.settings.size or not min(std) > 0:
            raise ValueError(
                f"mean is {list(mean)} and std {list(std)} for context={self.settings.context!r} of size "
                f"{self.settings.size}; expected a vector, and for each number a mean and a deviation above 0."
            )
        for module in vectors:
            module.mean.copy_(torch.tensor(mean))
            module.std.copy_(torch.tensor(std))

    def forward(
        self,
        batch: int,
        size: list[int],
        timesteps: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> ConditionEmbeddings:
        """Embed time steps and context; None: not used.

        Args:
            batch: number of images B.
            size: size S of the images.
            timesteps: (B) or (1).
            context: classes (B), indices or numbers (B, n) or (B) for one, or an image (B, C, *S); -1 everywhere, of
                numbers NaN, is none.

        Raises:
            ValueError: If a condition is given that the network was not built for, is missing, or has another shape.
        """
        if not torch.jit.is_scripting():
            self._check(batch, list(size), timesteps, context)
        time_emb: torch.Tensor | None = None
        if self.time is not None and timesteps is not None:
            time_emb = self.time(timesteps.reshape(-1))
        context_emb: torch.Tensor | None = None
        decoder_emb: torch.Tensor | None = None
        if self.context is not None and context is not None:
            if self.decoder_context is not None:
                context = self._dropped(context)
                decoder_emb = self.decoder_context(context)
            context_emb = self.context(context)
        return ConditionEmbeddings(time_emb, context_emb, decoder_emb)

    def _dropped(self, context: torch.Tensor) -> torch.Tensor:
        """The context (B, ...), in training that of none for some samples."""
        if not self.training or self.drop == 0:
            return context
        lost = torch.rand([context.shape[0]], device=context.device) < self.drop
        return torch.where(lost.view([-1] + [1] * (context.dim() - 1)), torch.full_like(context, self.null), context)

    @torch.jit.unused
    def _check(self, batch: int, size: list[int], timesteps: torch.Tensor | None, context: torch.Tensor | None) -> None:
        if torch.compiler.is_exporting():  # sizes are symbols, whose values a check would fix
            return
        settings = self.settings
        takes = {"timesteps": settings.timesteps, "context": settings.context}
        for name, given in ("timesteps", timesteps), ("context", context):
            if given is not None and not takes[name]:
                raise ValueError(built_without(name))
            if given is None and takes[name]:
                raise ValueError(f"this backbone was built with conditioning#{name} and needs them at every call.")
        if timesteps is not None and timesteps.numel() not in (1, batch):
            raise ValueError(
                f"timesteps has shape {tuple(timesteps.shape)}; expected ({batch},) for {batch} images, or (1,)."
            )
        if context is None or settings.context is None:
            return
        count = settings.size
        numbers = (batch, count)
        expected = {"class": (batch,), "position": numbers, "vector": numbers, "image": (*numbers, *size)}[
            settings.context
        ]
        shape = tuple(context.shape)
        one = {(batch,), (batch, 1)}  # a number per sample, with or without an axis of its own
        if shape != expected and not {shape, expected} <= one:
            raise ValueError(
                f"context has shape {shape}; a context '{settings.context}' for {batch} images of size {tuple(size)} "
                f"has {expected}."
            )

    def attach(self, half: nn.Module, side: str) -> None:
        """Give every stage inside a module the injections of the conditions of a side.

        Args:
            half: an encoder or a decoder, or a stage.
            side: "encoder" or "decoder".

        Raises:
            ValueError: If there is no stage in it.
        """
        settings = self.settings
        with_context = settings.on(side) and settings.injects
        if not (settings.timesteps or with_context):
            return
        stages = [module for module in half.modules() if isinstance(module, Stage)]
        if not stages:
            raise ValueError(
                f"conditioning: the {side} {type(half).__name__} has no flemme_monai.blocks.Stage; expected at "
                "least one, into which conditions are injected: make its layers stages, or leave conditioning out."
            )
        for stage in stages:
            stage.inject(partial(self._injection, with_context, self._is_own(side)))

    def _is_own(self, side: str) -> bool:
        """Whether a side has an embedding of its own beside the encoder's."""
        return side == "decoder" and self.decoder_context is not None

    def attach_input(self, half: nn.Module, side: str) -> None:
        """Add or concatenate the context where a side begins, if the settings say so.

        Args:
            half: an encoder or a decoder with a place for it: ``input_channels``, and an ``input_conditioning`` that
                is None.
            side: "encoder" or "decoder".

        Raises:
            ValueError: If the half has no such place.
        """
        settings = self.settings
        if settings.injects or not settings.on(side):
            return
        if not hasattr(half, "input_conditioning"):
            raise ValueError(
                f"combine={settings.combine!r}: the {side} {type(half).__name__} has no place to do it at; set combine "
                "to 'injection'."
            )
        place, concat = cast(InputPlace, half), settings.combine == "cat"
        place.input_conditioning = ContextFusion(
            self.spatial_dims, settings.channels, place.input_channels, concat, self._is_own(side)
        )

    def _injection(self, with_context: bool, own_of_decoder: bool, channels: int) -> BlockInjection:
        settings, time, context = self.settings, None, None
        sizes = (self.spatial_dims, settings.channels, channels, INJECTION_HEADS)
        if settings.timesteps:
            time = injection(settings.time_injection or "gate_bias", *sizes)
        if with_context:
            context = injection(settings.injection or "gate_bias", *sizes)
        return BlockInjection(time, context, settings.condition_first, own_of_decoder)


def _check_norm(settings: ConditioningConfig, side: str, family: BlockFamily) -> None:
    """Refuse a condition that shifts whole channels on a side whose norm subtracts each channel's mean."""
    shifts = [name for name in settings.channel_shifts if name == "time_injection" or settings.on(side)]
    if family.norm_removes_channel_shift and shifts:
        raise ValueError(
            f"{shifts[0]}={getattr(settings, shifts[0])!r} has no effect: it shifts whole channels, and the "
            f"norm of the {side}'s {type(family).__name__} subtracts each channel's mean: use a gate, or another norm "
            "or family."
        )
