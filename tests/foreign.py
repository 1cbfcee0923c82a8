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
    "scsenet": {"channels": [4, 4, 6, 8]},
    "simpleunet": {"channels": [8, 8, 16, 32]},
    "attentionunet": {"channels": [4, 4, 6, 8, 8]},
    "r2unet": {"channels": [4, 4, 6, 8, 8]},
    "r2attentionunet": {"channels": [4, 4, 6, 8, 8]},
    "unetpp": {"channels": [4, 4, 6, 8, 8]},
    "unet3p": {"channels": [4, 4, 6, 8, 8], "skip_channels": 2},
    "multiresunet": {"channels": [4, 4, 6, 8, 8]},
    "csnet": {"channels": [4, 4, 6, 8, 8]},
    "unext": {"channels": [8, 8, 10, 10, 12]},
    # B
    "segnet": {"channels": [4, 4, 6, 6, 8]},
    "ternausnet": {"channels": [4, 4, 6, 6, 8], "decoder_channels": 1},
    "u2net": {"channels": [3, 3, 3, 4, 4, 4], "inner_channels": [2] * 6, "decoder_channels": [2] * 5},
    "u2netsmall": {"channels": [2] * 6, "inner_channels": [2] * 6, "decoder_channels": [2] * 5},
    "hardnet": {
        "stem_channels": [2, 4],
        "channels": [4, 4, 4, 4, 6],
        "growth": [2, 2, 2, 2, 2],
        "layers": [4, 4, 2, 2, 2],
        "decoder_channels": 3,
    },
    "hardnetalter": {
        "stem_channels": [2, 4],
        "channels": [4, 4, 4, 4, 6],
        "growth": [2, 2, 2, 2, 2],
        "layers": [4, 4, 2, 2, 2],
        "decoder_channels": 3,
    },
    "denseunet": {"stem_channels": 4, "growth": 2, "layers": [2, 2, 2, 2], "decoder_channels": 4},
    "hrnet": {"channels": 2, "units": [1, 1, 1], "blocks": 1, "stem_channels": 2},
    # C
    "deeplabv2": {"depth": 14, "channels": 2},
    "deeplabv3plus": {"depth": 14, "channels": 2, "head_channels": 8, "low_level_channels": 4},
    "pspnet": {"depth": 14, "channels": 2, "head_channels": 8, "auxiliary_channels": 8},
    "danet": {"depth": 14, "channels": 2, "head_channels": 8},
    "ocnet": {"depth": 14, "channels": 2, "head_channels": 8, "key_channels": 4},
    "ocrnet": {"depth": 14, "channels": 2, "head_channels": 8, "key_channels": 4},
    "eanet": {"depth": 14, "channels": 2, "attention_channels": 8, "memories": 4, "head_channels": 8},
    "resunet": {"depth": 14, "channels": 2},
    "dlinknet": {"depth": 10, "channels": 4, "head_channels": 4},
    "cenet": {"depth": 10, "channels": 4, "head_channels": 4},
    # D
    "onenet": {
        "channels": [4, 8],
        "group_width": 2,
        "dilations": [[1], [2, 4]],
        "taps": [0, 1, 1],
        "head_channels": 8,
    },
    "lightnet": {"channels": [4, 16], "group_width": 2, "dilations": [[1], [2, 4]], "taps": [0, 1, 1]},
    "lrfeanet": {"channels": [4, 4, 4, 8, 8], "dilations": [[1], [1], [1], [1, 2], [1, 4]], "memories": 4},
    "mepdnet": {"channels": [4, 8, 16], "groups": 2},
    "setr": {"channels": 16, "depth": 3, "num_heads": 2, "decoder_channels": 8, "grid_size": 3, "taps": [0, 2]},
    "transunet": {
        "resnet_channels": 4,
        "units": [1, 1, 2],
        "channels": 16,
        "depth": 2,
        "num_heads": 2,
        "decoder_channels": [8, 8, 8, 8, 8],
        "grid_size": 3,
    },
    "segformer": {"channels": [4, 8, 10, 16], "depths": [1, 1, 2, 1], "head_channels": 8},
    "fancyunet": {"channels": 2, "depth": 3},
    # E
    "nnunet": {"channels": [4, 4, 4, 6, 6, 8]},
    "segresnet": {"init_filters": 4, "blocks_down": [1, 1, 1, 1], "num_groups": 4},
    "unetr": {"feature_size": 2, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2, "depths": [1, 1, 1, 1]},
    "resenc": {"channels": [4, 4, 4, 6, 6, 8], "num_blocks": [1, 2, 1, 1, 1, 1]},
}
DIMS_2_ONLY: tuple[str, ...] = ("mepdnet",)  # networks that refuse 3D, with the reason
SLICES = {"mepdnet": 3}  # neighbouring slices that a network takes as channels
TIME_AND_CLASS = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)


def backbone(key: str, spatial_dims: int, in_channels: int = 1, out_channels: int = 2, **settings: Any) -> Backbone:
    """A small network."""
    in_channels *= SLICES.get(key, 1)
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
