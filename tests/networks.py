"""The whole table of encoders, architectures and dimensions, in small sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from pydoc import locate
from typing import Any

import pytest
import torch
from torch import nn

from flemme_monai import backbones, registry
from flemme_monai.architectures import Denoiser
from flemme_monai.backbones import ConditioningConfig

PATHS = {row.name: row.path for row in (*registry.ENCODERS.values(), *registry.ARCHITECTURES.values())}
PLAIN = tuple(registry.ENCODERS[key].name for key in registry.encoders_of("none"))
ENCODERS = tuple(row.name for row in registry.ENCODERS.values())
ARCHITECTURES = tuple(row.name for row in registry.ARCHITECTURES.values())
DENOISERS = tuple(name for name in ARCHITECTURES if issubclass(locate(PATHS[name]), Denoiser))
HIERARCHICAL = tuple(row.name for row in registry.ARCHITECTURES.values() if row.hierarchical)
PAIRS = [
    (architecture.name, encoder.name)
    for architecture, encoder in product(registry.ARCHITECTURES.values(), registry.ENCODERS.values())
    if registry.serves(encoder.key, architecture.key)
]
DIMS = (2, 3)
TABLE = [(a, e, d) for (a, e), d in product(PAIRS, DIMS)]
# every encoder once, every family's pyramid, every architecture in 2D and 3D
CORE = [
    *(("SeM", encoder, 2) for encoder in ENCODERS),
    *((architecture, PLAIN[0], 2) for architecture in ARCHITECTURES),
    *(("SeM", encoder, 3) for encoder in ("UNet", "ViTD", "SwinU", "VMamba")),
    *(("HSeM", encoder, 2) for encoder in ("UNet", "ViTU", "SwinD", "VMambaU")),
    *(("HSeM", encoder, 3) for encoder in ("SwinU",)),
    *((a, e, d) for (a, e), d in product([("AE", "CNN"), ("HAE", "UNet"), ("ClM", "ViT"), ("VAE", "Swin")], DIMS)),
    *((a, e, d) for (a, e), d in product([("DDPM", "UNet"), ("EDM", "SwinU"), ("LDM", "CNN")], DIMS)),
    *(("SDM", encoder, d) for encoder, d in (("VMambaU", 2), ("DNet", 3))),
]
SIZES = {2: (16, 24), 3: (16, 8, 24)}
CONDITIONING = {
    **dict.fromkeys(DENOISERS, ConditioningConfig(timesteps=True, channels=8)),
    **dict.fromkeys(("SDM", "DSeM"), ConditioningConfig(timesteps=True, context="image", context_size=1, channels=8)),
}


def table(rows: Sequence[tuple], core: Collection[tuple]) -> list[Any]:
    """The rows of a table of tests, of which those outside of its core are slow: they run under ``--full``."""
    stray = [row for row in core if row not in rows]
    assert stray == []
    return [row if row in core else pytest.param(*row, marks=pytest.mark.slow) for row in rows]


def backbone(encoder: str, spatial_dims: int, in_channels: int = 1, out_channels: int = 2, **settings) -> nn.Module:
    """A small backbone of two stages with a total stride of 8."""
    cls = locate(PATHS[encoder])
    families = {
        backbones.ConvFamily: {"norm": "batch", "act": "relu"},  # which takes all conditions, and one position
        backbones.ViTFamily: {"num_heads": 2},
        backbones.SwinFamily: {"window_size": 2, "num_heads": 2},
        backbones.MambaFamily: {"state_size": 2, "expansion": 1.0},
    }
    settings.setdefault("family", cls.family_type(**families.get(cls.family_type, {})))
    small = {"patch_channels": 8, "channels": (8, 16), "middle_channels": (16,), "num_blocks": 2}
    return cls(spatial_dims, in_channels, out_channels, **{**small, **settings})


def network(architecture: str, encoder: str, spatial_dims: int, **settings) -> nn.Module:
    """A small network of any pair."""
    settings = {"in_channels": in_channels(architecture), "conditioning": CONDITIONING.get(architecture), **settings}
    return locate(PATHS[architecture])(backbone(encoder, spatial_dims, **settings))


def in_channels(architecture: str) -> int:
    """Channels of the small networks' input: two where the output is an image of the same kind, else one."""
    return 2 if architecture in ("VAE", *DENOISERS) else 1


def image(spatial_dims: int, channels: int = 1, batch: int = 2) -> torch.Tensor:
    """A random image whose size the small backbones take."""
    return torch.randn(batch, channels, *SIZES[spatial_dims])


def inputs(architecture: str, spatial_dims: int, size: Sequence[int] | None = None) -> tuple[torch.Tensor, ...]:
    """What a small network takes: images, and for denoisers time steps (sigmas for EDM), then an image as condition."""
    size = SIZES[spatial_dims] if size is None else size
    x = torch.randn(2, in_channels(architecture), *size)
    if architecture not in DENOISERS:
        return (x,)
    steps = torch.tensor([0.5, 3.0]) if architecture == "EDM" else torch.tensor([3, 700])
    return (x, steps, torch.randn(2, 1, *size)) if architecture in ("SDM", "DSeM") else (x, steps)


def tensors(output: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    """The output of any network as a list."""
    return output if isinstance(output, list) else [output]
