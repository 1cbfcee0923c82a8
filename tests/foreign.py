"""The networks from elsewhere, in small sizes."""

from __future__ import annotations

from pydoc import locate
from typing import Any

import torch
from torch import nn

from flemme_monai.backbones import Backbone, ConditioningConfig
from flemme_monai.registry import ARCHITECTURES, NETWORKS

# settings by which a network has some thousand parameters
SMALL: dict[str, dict[str, Any]] = {
    # A
    "classicunet": {"channels": [4, 4, 6, 8]},
    # B
    # C
    # D
    # E
    "nnunet": {"channels": [4, 4, 4, 6, 6, 8]},
    "segresnet": {"init_filters": 4, "blocks_down": [1, 1, 1, 1], "num_groups": 4},
    "unetr": {"feature_size": 2, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2, "depths": [1, 1, 1, 1]},
    "resenc": {"channels": [4, 4, 4, 6, 6, 8], "num_blocks": [1, 2, 1, 1, 1, 1]},
}
DIMS_2_ONLY: tuple[str, ...] = ()  # networks that refuse 3D, with the reason
TIME_AND_CLASS = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)


def backbone(key: str, spatial_dims: int, in_channels: int = 1, out_channels: int = 2, **settings: Any) -> Backbone:
    """A small network."""
    return locate(NETWORKS[key].path)(spatial_dims, in_channels, out_channels, **{**SMALL[key], **settings})


def network(architecture: str, key: str, spatial_dims: int, **settings: Any) -> nn.Module:
    """A small network in an architecture; under deep supervision in SeM where it can be."""
    if architecture == "sem" and NETWORKS[key].deep_supervision:
        settings.setdefault("deep_supervision", True)
    made = backbone(key, spatial_dims, **settings)
    return locate(ARCHITECTURES[architecture].path)(made)


def sizes(made: Backbone) -> tuple[list[int], list[int]]:
    """Two image sizes that a network takes, of which each has two positions at the latent or more."""
    divisor = made.size_divisor
    return [2 * divisor[0], *divisor[1:]], [*divisor[:-1], 3 * divisor[-1]]


def image(made: Backbone, other: bool = False, batch: int = 2) -> torch.Tensor:
    """A random image of the first size, or of the other."""
    return torch.randn(batch, made.in_channels, *sizes(made)[other])
