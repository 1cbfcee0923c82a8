"""The networks of bundles: a backbone in an architecture."""

from __future__ import annotations

from typing import Any

from ..registry import ARCHITECTURES, FAMILIES, Encoder, Network
from .base import Config, component

LEVELS = {
    "patch_size": 2,
    "patch_channels": 32,
    "channels": [32, 64],
    "middle_channels": [128],
    "num_blocks": 2,
    "strides": 2,
}
# what a bundle lists of an encoder's settings, by family; one without an entry has its class's own defaults
FAMILY_SETTINGS: dict[str, Config] = {
    "conv": {
        "position_embedding": False,
        "checkpointing": False,
        "family": {
            "block": "conv",
            "norm": "instance",
            "act": "leakyrelu",
            "dropout": 0.0,
            "channel_attention": None,
            "self_attention": False,
            "down_mode": "conv",
            "up_mode": "conv",
        },
    },
    "vit": {
        "drop_path": 0.0,
        "position_embedding": True,
        "checkpointing": False,
        "family": {
            "block": "vit",
            "num_heads": None,
            "spatial_reduction": 1,
            "mlp_ratio": 4.0,
            "dropout": 0.0,
            "up_mode": "interpolate",
        },
    },
    "swin": {
        "drop_path": 0.0,
        "position_embedding": False,
        "checkpointing": False,
        "family": {
            "block": "swin",
            "window_size": None,
            "num_heads": None,
            "mlp_ratio": 4.0,
            "dropout": 0.0,
            "up_mode": "interpolate",
        },
    },
    "mamba": {
        "drop_path": 0.0,
        "position_embedding": False,
        "checkpointing": False,
        "family": {
            "block": "mamba",
            "state_size": None,
            "expansion": 2.0,
            "dt_rank": None,
            "dt_range": [0.001, 0.1],
            "head_width": 32,
            "kernel_size": 3,
            "scan": "cross",
            "flip": True,
            "mlp_ratio": 4.0,
            "dropout": 0.0,
            "up_mode": "interpolate",
        },
    },
}


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
    """A backbone; a network from elsewhere has its class's own defaults.

    Args:
        row: of the registry.
        in_channels: channels of its image.
        out_channels: channels of its output.
        levels: settings of an encoder that differ from the usual ones.
        blocks: settings of an encoder's family that do.
        more: further arguments, such as ``conditioning``.
    """
    arguments = {"spatial_dims": "@spatial_dims", "in_channels": in_channels, "out_channels": out_channels}
    if isinstance(row, Encoder):
        usual = {**LEVELS, **FAMILY_SETTINGS.get(row.family, {})}
        family = {**usual.pop("family", {}), **(blocks or {})}
        arguments |= {**usual, **(levels or {}), "family": component(FAMILIES[row.family].path, **family)}
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


def latent_vector(row: Encoder | Network) -> Config:
    """The setting that makes the latent of a plain encoder a vector; not used by default."""
    return {"latent_size": None} if is_plain(row) else {}


def class_conditioning() -> Config:
    """The network is told the class of an image, where there are classes."""
    return component(
        "flemme_monai.backbones.Conditioning",
        _disabled_="$not @num_classes",
        context="class",
        context_size="@num_classes",
        channels=128,
        combine=None,
        injection=None,
        side=None,
    )
