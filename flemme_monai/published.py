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
_STEM = "123,520: its stem of three 3x3 convolutions is 128 wide, torchvision's of 7x7, whose weights there are, 64"

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
    Published(
        "multiresunet",
        7_244_826,
        7_244_828,
        "JMedSeg",
        "the last convolution has 2 biases here, and there a norm of 4 parameters",
    ),
    Published(
        "multiresunet",
        7_244_774,
        7_262_750,
        "the paper, one class",
        "Keras counts 24,522 running statistics; norms after convolutions have no scale there, 6,547 fewer; the last "
        "convolution has one bias here, and there a norm, which has two parameters before the scale is taken away",
        out_channels=1,
    ),
    Published(
        "csnet",
        8_397_764,
        8_925_636,
        "JMedSeg",
        f"3,072 biases: {_NO_BIAS}; a convolution after the attention there, which the paper does not have: 524,800",
    ),
    Published("unext", 1_471_426, 1_471_938, "the paper, rounded to 1.47 M, and JMedSeg", f"512 biases: {_NO_BIAS}"),
    # B
    Published("segnet", 29_436_226, 29_444_162, "JMedSeg", f"7,936 biases: {_NO_BIAS}"),
    Published(
        "ternausnet",
        22_927_393,
        22_927_393,
        "paper's network for one class, counted from its layers",
        "",
        out_channels=1,
    ),
    Published("ternausnet", 29_306_498, 29_306_498, "JMedSeg, VGG16", "", {"depth": 16}),
    Published(
        "u2net", 43_995_469, 44_009_869, "authors' network for one class", f"14,400 biases: {_NO_BIAS}", out_channels=1
    ),
    Published("u2net", 44_009_318, 44_023_718, "JMedSeg", f"14,400 biases: {_NO_BIAS}"),
    Published(
        "u2netsmall",
        1_128_333,
        1_131_181,
        "authors' network for one class",
        f"2,848 biases: {_NO_BIAS}",
        out_channels=1,
    ),
    Published("u2netsmall", 1_131_814, 1_134_662, "JMedSeg", f"2,848 biases: {_NO_BIAS}"),
    Published("hardnet", 17_423_934, 17_423_934, "JMedSeg", ""),
    Published("hardnetalter", 17_836_094, 17_836_094, "JMedSeg", ""),
    Published(
        "denseunet",
        49_526_435,
        49_527_843,
        "authors' network, counted from its layers without Keras' separate scales and biases after batch norms",
        f"1,408 biases: {_NO_BIAS}",
        out_channels=3,
    ),
    Published("hrnet", 9_636_242, 9_636_512, "HRNetV2-W18, counted from the paper's layers", f"270 biases: {_NO_BIAS}"),
    Published(
        "hrnet",
        65_846_402,
        65_847_122,
        "HRNetV2-W48, counted from the paper's layers, which has 65.8 to 65.9 M",
        f"720 biases: {_NO_BIAS}",
        {"channels": 48},
    ),
    # C
    Published("deeplabv2", 42_647_624, None, "ResNet-101", "the paper prints none, and JMedSeg's is a DeepLab V3+"),
    Published("deeplabv3plus", 59_339_426, 59_462_946, "JMedSeg, ResNet-101", _STEM),
    Published("pspnet", 65_574_978, 65_698_498, "JMedSeg, ResNet-101 without the auxiliary head", _STEM),
    Published(
        "pspnet",
        67_935_300,
        None,
        "ResNet-101 with the auxiliary head",
        "the paper prints none; the head has 2,360,322",
        {"deep_supervision": True},
    ),
    Published("danet", 66_426_564, 66_550_084, "JMedSeg, ResNet-101 with one head", _STEM),
    Published(
        "danet",
        66_428_616,
        None,
        "ResNet-101 with three heads",
        "the paper prints none; two heads more have 2,052",
        {"deep_supervision": True},
    ),
    Published(
        "ocnet",
        52_859_202,
        57_570_498,
        "JMedSeg, ResNet-101",
        f"{_STEM}; 4,194,304: it fuses by 3x3 and the paper by 1x1; 131,072: queries and keys of their own, which the "
        "paper shares, biased and without norms; 262,400: values and output are 512 wide, in the paper 256",
    ),
    Published(
        "ocrnet",
        57_844_292,
        57_064_644,
        "JMedSeg, ResNet-101",
        f"{_STEM}; here the paper's transforms of pixels, regions and context, 658,944, and its fusion before the "
        "logits, where JMedSeg has 3x3 logits, 507,904 less; 263,680 of JMedSeg's cannot be told",
    ),
    Published(
        "ocrnet",
        70_350_468,
        70_300_000,
        "the paper, rounded to 70.3 M: HRNet-W48 with 19 classes",
        "the paper rounds; 17 classes more have 20,978",
        {"trunk": "hrnet", "channels": 48},
    ),
    Published(
        "eanet",
        53_710_402,
        53_835_714,
        "JMedSeg, ResNet-101",
        f"{_STEM}; 1,792: a head of two transposed convolutions, where the authors have 3x3 and 1x1",
    ),
    Published(
        "resunet",
        77_606_658,
        77_882_626,
        "JMedSeg, ResNet-101 without its fourth stage, which is never run",
        f"{_STEM}; 147,520: the last level is narrower, since the stem is; 4,928 biases: {_NO_BIAS}",
    ),
    Published("dlinknet", 31_095_426, 31_096_418, "JMedSeg, ResNet-34", f"992 biases: {_NO_BIAS}"),
    Published(
        "dlinknet",
        217_641_410,
        217_645_378,
        "JMedSeg, ResNet-50",
        f"3,968 biases: {_NO_BIAS}",
        {"depth": 50, "dilations": (1, 2, 4, 8, 16)},
    ),
    Published("cenet", 29_002_388, 29_003_382, "JMedSeg, ResNet-34", f"994 biases: {_NO_BIAS}"),
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
    Published("fancyunet", 1_525_251, 1_525_251, "its authors", "", in_channels=1, out_channels=3),
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
