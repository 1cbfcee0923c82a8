"""Which conditions a backbone takes, and how it uses them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..blocks import (
    INJECTIONS,
    BlockInjection,
    ClassContext,
    Combine,
    ImageContext,
    PositionContext,
    Stage,
    StepEmbedding,
    injection,
)
from .family import BlockFamily

CONTEXTS = ("class", "image", "position")
COMBINES = ("injection", "add", "cat")
SIDES = ("both", "encoder", "decoder")
SUMS = ("bias", "cross_attention", "add", "cat")  # of a condition without extent: one number more for a whole channel


@dataclass(frozen=True)
class Conditioning:
    """Settings of the conditions of a backbone; a setting that nothing would use is refused.

    Args:
        timesteps: whether the network takes time steps; they are injected into every block.
        time_injection: how; None takes ``gate_bias``.
        context: what else it takes: ``class``, ``image``, ``position`` or None.
        context_size: classes, channels of the image, or indices a sample.
        channels: width of the embeddings.
        combine: ``injection`` into every block (None), or ``add`` or ``cat`` once where a side begins.
        injection: ``gate_bias``, ``gate``, ``bias`` or ``cross_attention``; None takes ``gate_bias``.
        side: ``encoder``, ``decoder`` or ``both`` (None).
        condition_first: whether a block is told the context before the time.
        drop: probability that a sample's context is taken away in training, for guidance.
        image_depth: blocks of the backbone's family that look at an image's patches.

    Raises:
        ValueError: for a name or number that is not one of these, or a setting without use.
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
                f"context_size is {self.context_size}; a context '{self.context}' needs the number of classes, of the "
                "image's channels, or of indices."
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
        ):
            if getattr(self, name) and not used:
                raise ValueError(f"{name}={getattr(self, name)} {why} has no use; leave it out.")
        adds = self.time_injection in SUMS and (self.injection == "bias" or "injection" in self.flat_sums)
        if self.condition_first and (adds or self.time_injection == self.injection == "gate"):
            raise ValueError(
                f"condition_first has no use: time_injection={self.time_injection!r} and injection={self.injection!r} "
                "give the same in either order; leave it out."
            )

    @property
    def flat_sums(self) -> list[str]:
        """The settings that add one number to a whole channel: sums of what has no extent, as all but an image."""
        names = ["time_injection"] if self.context == "image" else ["time_injection", "injection", "combine"]
        return [name for name in names if getattr(self, name) in SUMS]

    def on(self, side: str) -> bool:
        """Whether that side of the network is told the context."""
        return self.context is not None and self.side in (None, "both", side)

    @property
    def injects(self) -> bool:
        """Whether the context goes into every block."""
        return self.combine in (None, "injection")


class Conditions(nn.Module):
    """Checks and embeds what a network is told, and gives its halves the modules that use it.

    Args:
        settings: which conditions; None takes none.
        spatial_dims: 2 or 3.
        family: makes the encoder of an image.
        patch_size: of that encoder.

    Attributes:
        settings: as given.

    Raises:
        ValueError: for a condition that the family's blocks would forget.
    """

    def __init__(
        self, settings: Conditioning | None, spatial_dims: int, family: BlockFamily, patch_size: list[int]
    ) -> None:
        super().__init__()
        self.settings, self.spatial_dims = settings, spatial_dims
        self.time: nn.Module | None = None
        self.context: nn.Module | None = None
        if settings is None:
            return
        if family.forgets_bias and settings.flat_sums:
            name = settings.flat_sums[0]
            raise ValueError(
                f"{name}={getattr(settings, name)!r} has no effect: it adds one number to a whole channel, and the "
                "blocks' norm takes it away; use a gate, or another norm."
            )
        size, width, drop = settings.context_size, settings.channels, settings.drop
        if settings.timesteps:
            self.time = StepEmbedding(spatial_dims, width)
        if settings.context == "class":
            self.context = ClassContext(size, spatial_dims, width, drop)
        elif settings.context == "position":
            self.context = PositionContext(size, spatial_dims, width, drop)
        elif settings.context == "image":
            layers = [family.patch_embedding(spatial_dims, size, width, patch_size)]
            if settings.image_depth:
                layers.append(family.stage(spatial_dims, width, width, 0, [0.0] * settings.image_depth))
            self.context = ImageContext(nn.Sequential(*layers), size, spatial_dims, width, drop)

    def forward(
        self,
        batch: int,
        size: list[int],
        timesteps: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """What the network is told beside the image: time and context, embedded (B, E, *s); None what it does not take.

        Args:
            batch: number of images B.
            size: size S of the images.
            timesteps: (B) or (1).
            context: classes (B), indices (B, n) or (B) for one, or an image (B, C, *S).

        Raises:
            ValueError: for a condition that the network was not built for, one that is missing, or of another shape.
        """
        if not torch.jit.is_scripting():
            self._check(batch, list(size), timesteps, context)
        time: torch.Tensor | None = None
        if self.time is not None and timesteps is not None:
            time = self.time(timesteps.reshape(-1))
        told: torch.Tensor | None = None
        if self.context is not None and context is not None:
            told = self.context(context)
        return time, told

    @torch.jit.unused
    def _check(self, batch: int, size: list[int], timesteps: torch.Tensor | None, context: torch.Tensor | None) -> None:
        if torch.compiler.is_exporting():  # sizes are symbols, whose values a check would fix
            return
        settings = self.settings
        takes = {"timesteps": settings and settings.timesteps, "context": settings and settings.context}
        for name, given in ("timesteps", timesteps), ("context", context):
            if given is not None and not takes[name]:
                raise ValueError(f"{name} given, but this backbone was built without; set its conditioning#{name}.")
            if given is None and takes[name]:
                raise ValueError(f"this backbone was built with conditioning#{name} and needs them at every call.")
        if timesteps is not None and timesteps.numel() not in (1, batch):
            raise ValueError(f"timesteps has shape {tuple(timesteps.shape)}; {batch} images have ({batch},), or (1,).")
        if context is None:
            return
        count = settings.context_size
        expected = {"class": (batch,), "position": (batch, count), "image": (batch, count, *size)}[settings.context]
        shape = tuple(context.shape)
        one = {(batch,), (batch, 1)}  # a number a sample, with or without an axis of its own
        if shape != expected and not {shape, expected} <= one:
            raise ValueError(
                f"context has shape {shape}; a context '{settings.context}' for {batch} images of size {tuple(size)} "
                f"has {expected}."
            )

    def inject(self, stage: Stage, side: str) -> None:
        """Let every block of a stage on that side be told, if there is anything to tell."""
        settings, dims, heads = self.settings, self.spatial_dims, 4
        if settings is None or not (settings.timesteps or (settings.on(side) and settings.injects)):
            return

        def make(channels: int) -> BlockInjection:
            time, told = None, None
            if settings.timesteps:
                time = injection(settings.time_injection or "gate_bias", dims, settings.channels, channels, heads)
            if settings.on(side) and settings.injects:
                told = injection(settings.injection or "gate_bias", dims, settings.channels, channels, heads)
            return BlockInjection(time, told, settings.condition_first)

        stage.inject(make)

    def entrance(self, side: str, channels: int) -> nn.Module | None:
        """Where a side begins: the context added or concatenated, or None."""
        settings = self.settings
        if settings is None or settings.injects or not settings.on(side):
            return None
        return Combine(self.spatial_dims, settings.channels, channels, settings.combine == "cat")
