"""The whole table of encoders, architectures and dimensions, in small sizes."""

from __future__ import annotations

import torch
from torch import nn

from flemme_monai import architectures, backbones

ENCODERS = ("CNN", "UNet", "DNet", "ViT", "ViTU", "ViTD", "Swin", "SwinU", "SwinD", "VMamba", "VMambaU", "VMambaD")
ARCHITECTURES = ("SeM", "HSeM", "AE", "HAE")
HIERARCHICAL = ("HSeM", "HAE")
DIMS = (2, 3)
SIZES = {2: (16, 24), 3: (16, 8, 24)}


def backbone(encoder: str, spatial_dims: int, in_channels: int = 1, out_channels: int = 2, **settings) -> nn.Module:
    """A small backbone of two stages with a total stride of 8."""
    cls = getattr(backbones, encoder)
    families = {
        backbones.ConvFamily: {},
        backbones.ViTFamily: {"num_heads": 2},
        backbones.SwinFamily: {"window_size": 2, "num_heads": 2},
        backbones.MambaFamily: {"state_size": 2, "expansion": 1.0},
    }
    settings.setdefault("family", cls.family_type(**families[cls.family_type]))
    small = {"patch_channels": 8, "channels": (8, 16), "middle_channels": (16,), "num_blocks": 2}
    return cls(spatial_dims, in_channels, out_channels, **{**small, **settings})


def network(architecture: str, encoder: str, spatial_dims: int, **settings) -> nn.Module:
    """A small network of any pair."""
    return getattr(architectures, architecture)(backbone(encoder, spatial_dims, **settings))


def image(spatial_dims: int, channels: int = 1, batch: int = 2) -> torch.Tensor:
    """A random image whose size the small backbones take."""
    return torch.randn(batch, channels, *SIZES[spatial_dims])


def tensors(output: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    """The output of any network as a list."""
    return output if isinstance(output, list) else [output]
