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
_SCALES = "channels of norms, which have a scale and a shift here and neither there; there the biases stand before them"

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
    Published(
        "scsenet",
        17_354_695,
        17_359_111,
        "JMedSeg, whose gates reduce by 16",
        f"4,416 biases: {_NO_BIAS}",
        {"reduction": 16},
    ),
    Published("scsenet", 17_968_427, None, "reduction 2 of the paper", "the paper prints no count of this U-Net"),
    Published("simpleunet", 3_014_594, 3_014_594, "JMedSeg", ""),
    Published("attentionunet", 34_870_826, 34_878_638, "JMedSeg", f"7,812 biases: {_NO_BIAS}"),
    Published("r2unet", 39_084_610, 39_077_762, "JMedSeg", f"6,848 {_SCALES}", {"steps": 3}),
    Published("r2attentionunet", 39_435_178, 39_427_366, "JMedSeg", f"7,812 {_SCALES}", {"steps": 3}),
    Published(
        "unetpp",
        9_041_700,
        9_040_000,
        "the paper, rounded to 9.04 M: one channel, one class, no norms, four heads",
        "the paper rounds",
        {"norm": None, "deep_supervision": True},
        in_channels=1,
        out_channels=1,
    ),
    Published(
        "unetpp",
        36_622_402,
        36_629_698,
        "JMedSeg, of twice the width",
        f"7,296 biases: {_NO_BIAS}",
        {"channels": (64, 128, 256, 512, 1024), "up": "interpolate"},
    ),
    Published(
        "unet3p",
        26_968_130,
        26_969_538,
        "JMedSeg; the paper rounds to 26.97 M",
        f"6,528 biases: {_NO_BIAS}; the last convolution is 3x3 here, as in the paper, and 1x1 there: 5,120 more",
    ),
    Published(
        "unet3p",
        27_003_850,
        27_010_378,
        "JMedSeg with five heads",
        f"6,528 biases: {_NO_BIAS}",
        {"deep_supervision": True},
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
    Published("setr", 89_338_626, None, "base, without side outputs", "its number is printed with side outputs alone"),
    Published(
        "setr",
        96_448_607,
        97_640_000,
        "the paper's base with side outputs, Cityscapes",
        "a table of 2,304 positions, for crops of 768 pixels, has 1,618,944 more: 98,067,551; which 0.4 M of it the "
        "paper's rounded number leaves out is not said",
        {"deep_supervision": True},
        out_channels=19,
    ),
    Published(
        "setr",
        316_902_239,
        318_310_000,
        "the paper's large one with side outputs, Cityscapes",
        "with 2,304 positions 319,060,831; which 0.8 M of it the paper's rounded number leaves out is not said",
        {"channels": 1024, "depth": 24, "num_heads": 16, "taps": (9, 14, 19, 23), "deep_supervision": True},
        out_channels=19,
    ),
    Published("transunet", 105_276_066, 105_276_066, "JMedSeg, counted at 224 pixels with three skips", ""),
    Published("segformer", 3_752_694, 3_752_694, "transformers, B0, 150 classes", "", {"size": "B0"}, out_channels=150),
    Published(
        "segformer", 13_715_798, 13_715_798, "transformers, B1, 150 classes", "", {"size": "B1"}, out_channels=150
    ),
    Published(
        "segformer", 27_461_974, 27_461_974, "transformers, B2, 150 classes", "", {"size": "B2"}, out_channels=150
    ),
    Published(
        "segformer", 47_337_814, 47_337_814, "transformers, B3, 150 classes", "", {"size": "B3"}, out_channels=150
    ),
    Published(
        "segformer", 64_108_374, 64_108_374, "transformers, B4, 150 classes", "", {"size": "B4"}, out_channels=150
    ),
    Published(
        "segformer", 84_708_694, 84_708_694, "transformers, B5, 150 classes", "", {"size": "B5"}, out_channels=150
    ),
    # E
)
