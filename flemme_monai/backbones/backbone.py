"""The contract between a backbone and all that is made of it: architectures, tools and bundle checks use nothing else.

A backbone has two halves. ``encoder(x)`` makes of an image its latent and the features that it keeps on the way;
``decoder(latent, skips)`` makes of them the output. A backbone under conditions gives them to both as one more
argument. What a network cannot do it refuses with a sentence.
"""
# no postponed annotations here: TorchScript does not read them in a named tuple

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import torch
from torch import nn

from ..blocks import ConditionEmbeddings, Stage
from ..utils.network_config import ConfiguredModule
from .conditioning import ConditionEmbedder, ConditioningConfig, built_without
from .family import BlockFamily

ABILITIES = {
    "encode": "a latent of the image",
    "decode": "an image from a latent alone",
    "pyramid": "features at several resolutions",
    "denoise": "an output layer at the image's resolution",
}


class DecoderOutput(NamedTuple):
    """The output of a decoder.

    Attributes:
        output: the image (B, out_channels, *S).
        features: features of the decoder's stages (B, C_i, *s_i), coarse to fine.
        sides: outputs of side heads in training (B, out_channels, *s_i), the finest first; for most networks none.
    """

    output: torch.Tensor
    features: list[torch.Tensor]
    sides: list[torch.Tensor]


class BackboneOutput(NamedTuple):
    """The output of a backbone.

    Attributes:
        output, features, sides: as in :class:`DecoderOutput`.
        latent: the feature (B, latent_channels, *s) between encoder and decoder.
        conditions: the embedded conditions that the stages received; None for an unconditional network.
    """

    output: torch.Tensor
    features: list[torch.Tensor]
    sides: list[torch.Tensor]
    latent: torch.Tensor
    conditions: ConditionEmbeddings | None


class EncoderAttributes(Protocol):
    """What an encoder has beside its ``forward``: the total stride along each axis is ``size_divisor``.

    Either half may have a method ``forward_order()``, which names its layers in the order in which an image passes
    them, each as the list of its modules; without one they are its stages, see :meth:`ImageEncoder.forward_order`.
    An encoder may have a method ``token_embedding()``, see :meth:`ImageEncoder.token_embedding`.
    """

    spatial_dims: int
    in_channels: int
    latent_channels: int
    size_divisor: Sequence[int]


class DecoderAttributes(Protocol):
    """What a decoder has beside its ``forward``: the last convolution of ``output_layer`` makes the output; a decoder
    without one serves no denoiser. It may have ``side_weights``, see :class:`Backbone`, and with side outputs a method
    ``side_layers()``: the modules whose last convolutions make them."""

    feature_channels: Sequence[int]
    num_sides: int
    output_layer: nn.Module


class ImageEncoder(ConfiguredModule):
    """The first half of a backbone with all that it needs.

    Args:
        encoder: from an image (B, in_channels, *S) to its latent (B, latent_channels, *s) and a list of features, fine
            to coarse. It has :class:`EncoderAttributes`, and calls :func:`check_image`.
        conditions: embeds the conditions of the network; None: not used.
        bottleneck: a module that the latent passes, of the same shape before and after; None: not used.

    Attributes:
        spatial_dims, in_channels, latent_channels: the encoder's.
        size_divisor: total stride along each axis; image sizes must be multiples of it.
        conditions, bottleneck: as given.
        conditioning: settings of the conditions, or None.
    """

    def __init__(
        self, encoder: nn.Module, conditions: ConditionEmbedder | None = None, bottleneck: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conditions, self.encoder, self.bottleneck = conditions, encoder, bottleneck
        has = cast(EncoderAttributes, encoder)
        self.spatial_dims: int = has.spatial_dims
        self.in_channels: int = has.in_channels
        self.latent_channels: int = has.latent_channels
        self.size_divisor: list[int] = list(has.size_divisor)
        self.conditioning: ConditioningConfig | None = None if conditions is None else conditions.settings

    def embed(
        self,
        batch: int,
        size: list[int],
        timesteps: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> ConditionEmbeddings | None:
        """Embed the conditions of images; the arguments are those of :class:`ConditionEmbedder`.

        Raises:
            ValueError: If a condition is given that the network was not built for, is missing, or does not fit.
        """
        if self.conditions is None:
            if timesteps is not None or context is not None:
                raise ValueError(built_without("context" if timesteps is None else "timesteps"))
            return None
        return self.conditions(batch, size, timesteps, context)

    @torch.jit.unused
    def standardize_context(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Standardise numbers that are the context; the arguments are those of :meth:`ConditionEmbedder.standardize`.

        Raises:
            ValueError: If the context is no vector of as many numbers.
        """
        if self.conditions is None:
            raise ValueError(built_without("context"))
        self.conditions.standardize(mean, std)

    def encode(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """An image (B, in_channels, *S) to its latent (B, latent_channels, *s) and the features kept, fine to coarse.

        Args:
            x: the image.
            conditions: as :meth:`embed` returns them.

        Raises:
            ValueError: If the image does not fit.
        """
        if self.conditions is None:
            latent, skips = self.encoder(x)
        else:
            latent, skips = self.encoder(x, conditions)
        if self.bottleneck is not None:
            latent = self.bottleneck(latent)
        return latent, skips

    def forward_order(self) -> list[list[nn.Module]]:
        """The layers from the image to the latent, each as a list of modules.

        What lies in a later layer is no part of an earlier one around it: of a half that names no layers, its stages
        follow what is outside of them. The conditions' embedding comes first.
        """
        layers = _layers(self.encoder)
        if self.conditions is not None:
            layers = [[self.conditions], *layers]
        return layers if self.bottleneck is None else [*layers, [self.bottleneck]]

    def token_embedding(self) -> nn.Module | None:
        """The module after which positions are a set: the latent and features of some cells, each as large as the total
        stride, do not depend on where they lie and on what lies between them. None where neighbours matter."""
        if self.bottleneck is not None or not hasattr(self.encoder, "token_embedding"):
            return None
        return self.encoder.token_embedding()  # type: ignore[operator]  # a method of some encoders

    def input_layers(self) -> list[nn.Module]:
        """The modules whose first convolution sees an image: the encoder, and what embeds an image as context."""
        if self.conditions is None or self.conditions.settings.context != "image":
            return [self.encoder]
        embedders = (self.conditions.context, self.conditions.decoder_context)
        return [self.encoder, *(embedder for embedder in embedders if embedder is not None)]

    def output_layers(self) -> list[nn.Module]:
        """The modules whose shapes follow the number of output channels: none in the first half."""
        return []


class LatentEncoder(ImageEncoder):
    """A backbone without its decoder: an image to its latent. Args: as of :class:`ImageEncoder`."""

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """An image (B, in_channels, *S) to its latent (B, latent_channels, *s)."""
        return self.encode(x, self.embed(x.shape[0], list(x.shape[2:]), timesteps, context))[0]


class Backbone(ImageEncoder):
    """A network that maps images to images, in two halves.

    Args:
        encoder: as in :class:`ImageEncoder`.
        decoder: from a latent and the encoder's features to a :class:`DecoderOutput`. It has
            :class:`DecoderAttributes`.
        out_channels: channels of the output.
        family: makes the blocks of the pyramid, and those that look at an image as context; None where ``refusals``
            says why there is no pyramid.
        conditioning: conditions, which every :class:`flemme_monai.blocks.Stage` in the halves gets. None: not used.
            A context that is added or concatenated needs a place (:meth:`ConditionEmbedder.attach_input`).
        bottleneck: as in :class:`ImageEncoder`.
        refusals: what the network cannot do and why: sentences by the names of ``ABILITIES``.
        encoder_family: family of the encoder's blocks, if it is another.
        context_patch: patch of an image as context along each axis; None takes 4, or the total stride if that is less.
        checkpointing: recompute the activations of every stage in the backward pass instead of keeping them.

    Attributes:
        out_channels: channels of the output.
        family: as given.
        feature_channels: channels of the decoder's features, coarse to fine.
        num_sides: outputs of side heads in training.
        side_weights: weights of their losses where the output's is 1: the decoder's, or equal ones whose sum is 1.
        refusals: as given.

    Raises:
        ValueError: If a half has no stage to inject the conditions into, a refusal has another name, the family is
            missing, or side outputs and their weights differ in number.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        out_channels: int,
        family: BlockFamily | None,
        conditioning: ConditioningConfig | None = None,
        bottleneck: nn.Module | None = None,
        refusals: dict[str, str] | None = None,
        encoder_family: BlockFamily | None = None,
        context_patch: Sequence[int] | None = None,
        checkpointing: bool = False,
    ) -> None:
        name, refusals = type(self).__name__, dict(refusals or {})
        if not refusals.keys() <= ABILITIES.keys():
            raise ValueError(f"{name}: refusals has {', '.join(refusals)}; expected names of {', '.join(ABILITIES)}.")
        if family is None and (conditioning is not None or "pyramid" not in refusals):
            raise ValueError(
                f"{name} has no family; expected a BlockFamily, which makes the pyramid's blocks and embeds images as "
                "context: give one, or leave conditioning out and say in refusals why there is no pyramid."
            )
        conditions = None
        if conditioning is not None and family is not None:
            has, families = cast(EncoderAttributes, encoder), (encoder_family or family, family)
            patch = [min(4, d) for d in has.size_divisor] if context_patch is None else context_patch
            conditions = ConditionEmbedder(conditioning, has.spatial_dims, families, patch, has.size_divisor)
            for half, side in (encoder, "encoder"), (decoder, "decoder"):
                conditions.attach(half, side)
                conditions.attach_input(half, side)
        super().__init__(encoder, conditions, bottleneck)
        self.decoder, self.out_channels, self.family = decoder, out_channels, family
        self.feature_channels: list[int] = list(cast(DecoderAttributes, decoder).feature_channels)
        self.num_sides: int = cast(DecoderAttributes, decoder).num_sides
        equal = [1.0 / max(self.num_sides, 1)] * self.num_sides
        self.side_weights: list[float] = list(getattr(decoder, "side_weights", equal))
        if len(self.side_weights) != self.num_sides:
            raise ValueError(
                f"{name} has {self.num_sides} side outputs and side_weights {self.side_weights}; expected one for each."
            )
        self.refusals = refusals
        for module in self.modules():
            if isinstance(module, Stage):
                module.checkpointing = checkpointing

    def decode(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, latent_channels, *s), and the features that :meth:`encode` kept, to the output.

        Args:
            latent: the latent.
            skips: features of the encoder, fine to coarse; [] for a network that makes an image from a latent alone.
            conditions: as :meth:`embed` returns them.
        """
        if self.conditions is None:
            return self.decoder(latent, skips)
        return self.decoder(latent, skips, conditions)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> BackboneOutput:
        """An image (B, in_channels, *S) to the output and all that an architecture may need.

        Args:
            x: the image.
            timesteps: (B) or (1).
            context: classes (B), indices or numbers (B, n), or an image (B, C, *S).

        Raises:
            ValueError: If a shape does not fit, or a condition is missing or one that the network was not built for.
        """
        conditions = self.embed(x.shape[0], list(x.shape[2:]), timesteps, context)
        latent, skips = self.encode(x, conditions)
        out = self.decode(latent, skips, conditions)
        return BackboneOutput(out.output, out.features, out.sides, latent, conditions)

    def require(self, ability: str, asker: str) -> None:
        """Refuse, with the reason, what the network cannot do.

        Args:
            ability: a name of ``ABILITIES``.
            asker: who needs it, for the message.

        Raises:
            ValueError: If ``refusals`` has a reason.
        """
        if ability in self.refusals:
            raise ValueError(
                f"{asker} needs {ABILITIES[ability]}, which {type(self).__name__} does not give: "
                f"{self.refusals[ability]}"
            )

    def require_no_sides(self, asker: str) -> None:
        """Refuse side outputs that have no loss, since heads that make nothing else would get no gradient.

        Args:
            asker: who does not supervise them, for the message.

        Raises:
            ValueError: If there are side outputs.
        """
        if self.num_sides:
            raise ValueError(
                f"{type(self).__name__} has {self.num_sides} side outputs in training, which {asker} does not "
                "supervise; expected none: build it without deep supervision."
            )

    def without_decoder(self) -> LatentEncoder:
        """The first half alone, with the same weights."""
        return LatentEncoder(self.encoder, self.conditions, self.bottleneck)

    def pyramid_block(self, channels: int, level: int) -> Stage:
        """A residual block for a level of the pyramid, under the conditions of the decoder.

        Args:
            channels: of the feature (B, channels, *s) that it keeps the shape of.
            level: of the feature, counted from the finest decoder stage (0) to the latent.
        """
        assert self.family is not None, "a network without a family refuses the pyramid"
        block = self.family.pyramid_block(self.spatial_dims, channels, level)
        if self.conditions is not None:
            self.conditions.attach(block, "decoder")
        return block

    def forward_order(self) -> list[list[nn.Module]]:
        """The layers from the image to the output layer, which is none of them."""
        return super().forward_order() + _layers(self.decoder)

    def output_layers(self) -> list[nn.Module]:
        """The modules whose shapes follow the number of output channels; none where the decoder names no layer."""
        layers = [layer for layer in (getattr(self.decoder, "output_layer", None),) if layer is not None]
        if hasattr(self.decoder, "side_layers"):
            layers += self.decoder.side_layers()  # type: ignore[operator]  # a method of some decoders
        found: list[nn.Module] = []
        for layer in layers:
            convolutions = convolutions_of(layer)
            found += convolutions[-1:] or ([layer] if list(layer.parameters()) else [])
        return found

    def output_layer(self) -> nn.Module:
        """The decoder's module whose last convolution makes the output; a denoiser begins with it at zero."""
        return cast(DecoderAttributes, self.decoder).output_layer


def convolutions_of(module: nn.Module) -> list[nn.Module]:
    """The convolutions in a module, transposed ones too."""
    return [layer for layer in module.modules() if isinstance(layer, nn.modules.conv._ConvNd)]


def _layers(half: nn.Module) -> list[list[nn.Module]]:
    """The layers of a half in the order in which an image passes them."""
    if hasattr(half, "forward_order"):
        return half.forward_order()  # type: ignore[operator]  # a method of some halves
    return [[half]] + [[module] for module in half.modules() if isinstance(module, Stage)]


def check_image(
    x: torch.Tensor, spatial_dims: int, in_channels: int, size_divisor: Sequence[int], min_latent_positions: int = 1
) -> None:
    """Refuse an image that a network cannot take. Encoders call it first, but not while they are scripted.

    Args:
        x: the image.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        size_divisor: total stride along each axis.
        min_latent_positions: positions that the latent needs.

    Raises:
        ValueError: If its shape does not fit; the message names the sizes that do.
    """
    if torch.compiler.is_exporting():  # sizes are symbols, whose values a check would fix
        return
    if x.ndim != 2 + spatial_dims or x.shape[1] != in_channels:
        axes = ", ".join("HWD"[:spatial_dims])
        raise ValueError(
            f"input has shape {tuple(x.shape)}; expected (batch, {in_channels}, {axes}) "
            f"for this {spatial_dims}D network: set spatial_dims and in_channels to what the images have."
        )
    size = [int(n) for n in x.shape[2:]]
    if any(n % d for n, d in zip(size, size_divisor)):
        below = tuple(max(n // d, 1) * d for n, d in zip(size, size_divisor))
        above = tuple(-(-n // d) * d for n, d in zip(size, size_divisor))
        raise ValueError(
            f"image size {tuple(size)} is not divisible by this network's total stride {tuple(size_divisor)}; "
            f"sizes that fit are {below} or {above}: crop or pad to one of them."
        )
    if min_latent_positions > 1 and size == list(size_divisor):
        raise ValueError(
            f"image size {tuple(size)} is the network's total stride: its latent has one position, which "
            f"instance norm cannot normalise; use {tuple(2 * d for d in size_divisor)} or more"
        )
