"""Augmented crops a second of a bundle's training beside those of batchgenerators' pipeline, as nnU-Net uses it."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import dropwhile
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandomizableTrait

from ..recipes import make_bundle
from .measure import markdown_table

OURS, THEIRS = "flemme_monai", "batchgeneratorsv2"
# of nnU-Net's list what a bundle has a setting for, at nnU-Net's probabilities
AS_NNUNET = {
    "flip": 0.5, "rotate": 0.2, "scale": 0.2, "elastic": 0.0, "noise": 0.1, "blur": 0.1, "intensity": 0.15,
    "contrast": 0.15, "brightness": 0.4,
}  # fmt: skip
_TURN = np.pi / 6  # nnU-Net's largest angle in 3D
_LARGEST_REACH = (np.cos(_TURN) + np.sin(_TURN)) / 0.85  # of a crop that is turned and zoomed, in its own sides


def volume(size: int) -> dict[str, torch.Tensor]:
    """A case after the deterministic transforms: textures of several scales, and a label of three classes.

    Args:
        size: of each axis.

    Returns:
        ``image`` float32 and ``label`` uint8, (1, size, size, size).
    """
    image = torch.randn(1, 1, size, size, size) * 0.3
    for scale in (4, 16, 32):
        coarse = torch.randn(1, 1, *(3 * [size // scale + 2]))
        image += torch.nn.functional.interpolate(coarse, size=image.shape[2:], mode="trilinear")
    label = (image > 1).to(torch.uint8) + (image > 2).to(torch.uint8)
    return {"image": image[0], "label": label[0]}


def ours(crop: int, augmentation: Mapping[str, float] | None = None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The random transforms of a segmentation bundle.

    Args:
        crop: size of each axis of a crop.
        augmentation: probabilities by name; the bundle's own by default.
    """
    sizes = {"spatial_dims": 3, "image_size": [crop] * 3}
    given = {f"augmentation#{name}": value for name, value in (augmentation or {}).items()}
    parser = ConfigParser(json.loads(make_bundle("sem_unet", settings={**sizes, **given})["configs/train.json"]))
    transforms = parser.get_parsed_content("train#preprocessing").flatten().transforms
    return Compose(list(dropwhile(lambda t: not isinstance(t, RandomizableTrait), transforms)))


def theirs(crop: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """nnU-Net 2's list for 3D (Isensee et al., Nature Methods 2021), of the package that it takes it from.

    A larger crop is cut first, from which turned and zoomed ones are sampled.

    Args:
        crop: size of each axis of a crop.

    Raises:
        ImportError: If batchgeneratorsv2 is not installed.
    """
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    factors = BGContrast((0.75, 1.25))
    gamma = BGContrast((0.7, 1.5))
    low_resolution = SimulateLowResolutionTransform((0.5, 1.0), False, True, None, None, 0.5)
    transforms = [
        SpatialTransform(
            [crop] * 3, 0, False, p_rotation=0.2, rotation=(-_TURN, _TURN), p_scaling=0.2, scaling=(0.7, 1.4),
            p_synchronize_scaling_across_axes=1,
        ),
        RandomTransform(GaussianNoiseTransform((0.0, 0.1), 1, True), 0.1),
        RandomTransform(GaussianBlurTransform((0.5, 1.0), False, False, 0.5, benchmark=True), 0.2),
        RandomTransform(MultiplicativeBrightnessTransform(factors, False, 1), 0.15),
        RandomTransform(ContrastTransform(factors, True, False, 1), 0.15),
        RandomTransform(low_resolution, 0.25),
        RandomTransform(GammaTransform(gamma, 1, False, 1, 1), 0.1),
        RandomTransform(GammaTransform(gamma, 0, False, 1, 1), 0.3),
        MirrorTransform((0, 1, 2)),
    ]  # fmt: skip
    reach = int(crop * _LARGEST_REACH)

    def augmented(case: dict[str, Any]) -> dict[str, Any]:
        image, label = case["image"], case["label"]
        sizes = [min(reach, length) for length in image.shape[1:]]
        first = [np.random.randint(length - size + 1) for length, size in zip(image.shape[1:], sizes)]
        box = (slice(None), *(slice(start, start + size) for start, size in zip(first, sizes)))
        item = {"image": image[box].clone(), "segmentation": label[box].to(torch.int16)}
        for transform in transforms:
            item = transform(**item)
        return item

    return augmented


def compare(args: argparse.Namespace) -> tuple[str, dict]:
    """Measure each pipeline in turn, crop by crop, in one thread; seconds are the processor's.

    Args:
        args: size, crop, repeats, warmup and quick.

    Returns:
        The report in Markdown, and all numbers.
    """
    size, crop = (48, 24) if args.quick else (args.size, args.crop)
    torch.set_num_threads(1)
    case = volume(size)
    pipelines = {f"{OURS}, a bundle's own": ours(crop), f"{OURS}, as nnU-Net's": ours(crop, AS_NNUNET)}
    missing = ""
    try:
        pipelines[THEIRS] = theirs(crop)
    except ImportError as error:
        missing = f"\n\n{THEIRS} is not installed ({error}); `pip install {THEIRS}` measures it too."
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for turn in range(args.warmup + args.repeats):
        for name, pipeline in pipelines.items():
            start = time.process_time()
            pipeline(dict(case))
            if turn >= args.warmup:
                seconds[name].append(time.process_time() - start)
    mean = {name: statistics.fmean(values) for name, values in seconds.items()}
    base = mean.get(THEIRS)
    rows = [
        {
            "augmentation": name,
            "crops a second and core": 1 / value,
            "± of its mean": f"{_deviation(seconds[name]) / value:.0%}",
            "ratio": "" if base is None else f"{base / value:.2f}",
        }
        for name, value in mean.items()
    ]
    text = f"Crops of {crop}³ from a volume of {size}³ and its label, {args.repeats} of each in turn. "
    text += f"A ratio above 1: faster than {THEIRS}.\n\n"
    return text + markdown_table(rows) + missing, {"crop": crop, "volume": size, "seconds": seconds}


def _deviation(values: list[float]) -> float:
    """The standard error of a mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
