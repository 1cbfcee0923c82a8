"""The networks of bundles: a backbone in an architecture."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..registry import ARCHITECTURES, FAMILIES, Encoder, Network
from .base import MULTI_LABEL, Config, component
from .conditions import context_of_table, size_of_context

if TYPE_CHECKING:
    from ..backbones import Backbone


def is_plain(row: Encoder | Network) -> bool:
    """Whether everything passes the latent of an encoder."""
    return isinstance(row, Encoder) and row.connection == "none"


def is_conv(row: Encoder | Network) -> bool:
    """Whether an encoder is of the convolutional family."""
    return isinstance(row, Encoder) and row.family == "conv"


def backbone(
    row: Encoder | Network,
    in_channels: str,
    out_channels: str,
    levels: Config | None = None,
    blocks: Config | None = None,
    **more: Any,
) -> Config:
    """A backbone, which has its class's defaults but for what is said here.

    Args:
        row: of the registry.
        in_channels: channels of its image.
        out_channels: channels of its output.
        levels: settings of an encoder that differ from its class's; a network from elsewhere has none.
        blocks: settings of an encoder's family that do.
        more: further arguments, such as ``conditioning``.
    """
    arguments: Config = {"spatial_dims": "@spatial_dims", "in_channels": in_channels, "out_channels": out_channels}
    if isinstance(row, Encoder):
        # the family stands there, with its class, for what a user sets of it alone: network_def#backbone#family#norm
        arguments |= {**(levels or {}), "family": component(FAMILIES[row.family].path, **(blocks or {}))}
    return component(row.path, **arguments, **more)


def smooth_backbone(
    row: Encoder | Network,
    in_channels: str,
    out_channels: str,
    levels: Config | None = None,
    blocks: Config | None = None,
    **more: Any,
) -> Config:
    """A backbone of images that are made: a convolutional one has residual blocks and group norm, pixel by pixel.

    Arguments as of :func:`backbone`; ``levels`` and ``blocks`` are those of a convolutional encoder.
    """
    if not is_conv(row):
        return backbone(row, in_channels, out_channels, **more)
    levels = {"patch_size": 1, **(levels or {})}
    blocks = {"block": "res_conv", "norm": "group", "act": "gelu", **(blocks or {})}
    return backbone(row, in_channels, out_channels, levels, blocks, **more)


def network(architecture: str, backbone: Config, **settings: Any) -> Config:
    """A network: a backbone in the architecture of that key."""
    return component(ARCHITECTURES[architecture].path, backbone=backbone, **settings)


def alignment() -> Config:
    """The network sees the image through a spatial transformer, where the setting ``stn`` is true."""
    return component(
        "flemme_monai.architectures.SpatialTransformer",
        _disabled_="$not flemme_monai.utils.as_bool(@stn)",
        spatial_dims="@spatial_dims",
        in_channels="@in_channels",
        outside=f"$'nothing' if {MULTI_LABEL} else 'background'",
    )


def class_conditioning(classes: str = "@num_classes") -> Config:
    """The network receives the class of an image, or numbers of a table, where there are some."""
    return component(
        "flemme_monai.backbones.ConditioningConfig",
        _disabled_=f"$not ({classes} or @condition_columns)",
        context=context_of_table("'class'"),
        context_size=size_of_context(classes),
    )


def table_conditioning() -> Config:
    """The network receives numbers of a table, where there are some."""
    return component(
        "flemme_monai.backbones.ConditioningConfig",
        _disabled_="$not @condition_columns",
        context=context_of_table("None"),
        context_size=size_of_context("None"),
    )


def built_backbone(config: Config) -> Backbone:
    """The backbone of a config's network, without values, which knows what the config leaves to its class.

    Args:
        config: a whole config, such as that of training.
    """
    import torch
    from monai.bundle import ConfigParser

    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # its shapes are all that is asked
        parser = ConfigParser(deepcopy(config))  # which replaces macros in what it is given
        return parser.get_parsed_content("network_def#backbone")
