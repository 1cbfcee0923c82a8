"""The features of a backbone that pretraining shapes and that are watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from monai.networks.utils import eval_mode

from ..backbones.backbone import Backbone, ImageEncoder

LATENT = "latent"


class Pretraining(Protocol):
    """What networks of pretraining have: the backbone, and the level of the features that they shape."""

    backbone: Backbone
    level: int | str


def check_pretrainable(backbone: Backbone, asker: str) -> None:
    """Refuse, with the reason, a network that has no features of an image alone.

    Args:
        backbone: the network.
        asker: who needs them, for the message.

    Raises:
        ValueError: If the network has no latent, or takes conditions.
    """
    backbone.require("encode", asker)
    if backbone.conditioning is not None:
        raise ValueError(
            f"{asker} has a backbone that takes conditions; expected one that sees images alone: leave its "
            "conditioning out."
        )


def freeze_unused(backbone: Backbone, output: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Freeze the parameters that have no part in an output: they would get no gradient.

    Args:
        backbone: the network.
        output: what it is to be trained for, of an image (B, in_channels, *S).

    Returns:
        The output of an image of zeros.
    """
    learning = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    size = [2 * backbone.size_divisor[0], *backbone.size_divisor[1:]]
    image = torch.zeros(1, backbone.in_channels, *size, device=learning[0].device)
    with eval_mode(backbone), torch.enable_grad():
        found = output(image)
        gradients = torch.autograd.grad(found.sum(), learning, allow_unused=True)
    for parameter, gradient in zip(learning, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    return found.detach()


def feature_map(backbone: ImageEncoder, image: torch.Tensor, level: int | str = LATENT) -> torch.Tensor:
    """The feature (B, F, *s) of an image at a level of the encoder.

    Args:
        backbone: a network that :func:`check_pretrainable` takes, or its first half.
        image: (B, in_channels, *S).
        level: ``latent``, or the index of one of the features that the encoder keeps, from 0, the finest.

    Raises:
        ValueError: If the network has no such level, or the image does not fit.
    """
    latent, skips = backbone.encode(image)
    if level == LATENT:
        return latent
    if not isinstance(level, int) or not 0 <= level < len(skips):
        raise ValueError(
            f"level is {level!r}; expected 'latent' or a number from 0 to {len(skips) - 1}, one of the features that "
            f"the encoder of this {type(backbone).__name__} keeps."
        )
    return skips[level]


def pooled_features(backbone: ImageEncoder, image: torch.Tensor, level: int | str = LATENT) -> torch.Tensor:
    """The mean (B, F) over the positions of :func:`feature_map`, whose arguments these are."""
    return feature_map(backbone, image, level).flatten(2).mean(2)
