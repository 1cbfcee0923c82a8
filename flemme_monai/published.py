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
    Published("onenet", 4_765_826, 4_765_826, "JMedSeg", ""),
    Published("lightnet", 2_836_802, 2_836_802, "JMedSeg", ""),
    Published("lrfeanet", 51_193_770, 51_193_770, "JMedSeg, counted: its comment says 34.8 M of another trunk", ""),
    Published(
        "mepdnet",
        4_717_698,
        4_721_922,
        "JMedSeg, counted",
        "4,224 of a 1x1 convolution and its norm after the selection among kernels, which are never called there",
        in_channels=9,
    ),
    # E
)
