"""Sizes of the networks from elsewhere as their papers have them: what is counted here and printed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """A network at a published setting.

    Args:
        key: of the network in the registry.
        parameters: trainable parameters here.
        figure: their number in the paper or in the code that the setting is from; None where none is known.
        source: where that number is from.
        difference: what explains it to the parameter, or why that cannot be told.
        settings: arguments of the class that differ from its defaults.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
    """

    key: str
    parameters: int
    figure: int | None
    source: str
    difference: str
    settings: dict[str, Any] = field(default_factory=dict)
    spatial_dims: int = 2
    in_channels: int = 3
    out_channels: int = 2


_NO_BIAS = "convolutions before a batch norm have no bias here, which that norm would take away"

_HEAD_OF_WEIGHT_0 = "the head of the coarsest decoder stage, whose loss has the weight 0, is not built here"
_EIGHT_STAGES = {"channels": [32, 64, 128, 256, 512, 512, 512, 512], "deep_supervision": True}  # patches of 512 x 512

PUBLISHED: tuple[Published, ...] = (
    # A
    Published("classicunet", 17_263_042, 17_267_458, "PyTorch port of JMedSeg", f"4,416 biases: {_NO_BIAS}"),
    Published(
        "classicunet",
        31_037_698,
        31_043_586,
        "the same, transposed",
        f"5,888 biases: {_NO_BIAS}",
        {"up": "conv"},
    ),
    # B
    # C
    # D
    # E
    Published(
        "nnunet",
        31_194_952,
        31_195_594,
        "dynamic-network-architectures, six stages in 3D",
        f"642: {_HEAD_OF_WEIGHT_0}",
        {"deep_supervision": True},
        spatial_dims=3,
        in_channels=1,
    ),
    Published(
        "nnunet",
        46_323_532,
        46_324_558,
        "dynamic-network-architectures, eight stages in 2D",
        f"1,026: {_HEAD_OF_WEIGHT_0}",
        _EIGHT_STAGES,
        in_channels=1,
    ),
    Published(
        "resenc",
        102_349_128,
        102_349_770,
        "dynamic-network-architectures, six stages in 3D",
        f"642: {_HEAD_OF_WEIGHT_0}",
        {"deep_supervision": True},
        spatial_dims=3,
        in_channels=1,
    ),
    Published(
        "resenc",
        140_016_012,
        140_017_038,
        "dynamic-network-architectures, eight stages in 2D",
        f"1,026: {_HEAD_OF_WEIGHT_0}",
        {**_EIGHT_STAGES, "num_blocks": [1, 3, 4, 6, 6, 6, 6, 6]},
        in_channels=1,
    ),
    Published("segresnet", 1_176_186, 1_176_186, "MONAI", "", spatial_dims=3, in_channels=1),
    Published(
        "segresnet",
        4_702_227,
        4_702_227,
        "MONAI",
        "",
        {"init_filters": 16},
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
    ),
    Published(
        "unetr",
        92_811_694,
        92_802_478,
        "MONAI, crops of 96 x 96 x 96",
        "27,648 biases of queries, keys and values, which MONAI leaves out, less 18,432 of norms for a cross-attention "
        "that MONAI makes and never uses",
        spatial_dims=3,
        in_channels=1,
        out_channels=14,
    ),
)
