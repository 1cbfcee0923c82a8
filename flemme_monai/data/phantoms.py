"""Procedurally made phantoms: bodies with organs, noise and a bias field, for runs without a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

_NUM_CASES = {2: 80, 3: 20}
_NUM_CLASS_CASES = {2: 160, 3: 40}
_NOISE = 0.05
_BIAS = 0.25
_POINT_SPREAD = 0.02  # standard deviation over the image's size


def phantoms(
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    image_size: Sequence[int],
    seed: int = 0,
    separate_noise: bool = False,
) -> list[dict[str, Any]]:
    """Phantom cases with label maps.

    Each is a body (part of the background) with ``num_classes`` - 1 organs: ellipsoids at varied places, turned and
    scaled, with close ranges of brightness, beside unlabelled vessels as bright as organs. Channels show the same body
    in different contrasts.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels.
        num_classes: number of classes, background included.
        image_size: size of the image in voxels, one number per axis.
        seed: the same seed gives the same cases.
        separate_noise: give the noise as ``noise``, a tensor of the image's shape, and not in the image, whose edges
            are then as smooth as a scanner's point spread makes them: what a network shall make.

    Returns:
        80 (2D) or 20 (3D) items: ``image`` float32 (in_channels, *image_size) in [0, 1], ``label`` uint8
        (1, *image_size) and ``case``.
    """
    return [
        _phantom(
            f"phantom_{index:03d}",
            np.random.default_rng([seed, index]),
            in_channels,
            num_classes,
            image_size,
            separate_noise,
        )
        for index in range(_NUM_CASES[spatial_dims])
    ]


def one_channel_per_organ(label: MetaTensor, num_organs: int) -> MetaTensor:
    """The label map (1, *S) of a phantom as a mask (num_organs, *S) of each organ."""
    organs = torch.arange(1, num_organs + 1).reshape(-1, *[1] * (label.ndim - 1))
    return MetaTensor((label.as_tensor() == organs).to(torch.uint8), meta=dict(label.meta))


def class_phantoms(
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    image_size: Sequence[int],
    seed: int = 0,
    separate_noise: bool = False,
) -> list[dict[str, Any]]:
    """Phantom cases with a class each, the classes in turn.

    Each is a body as ``phantoms`` makes it, with one of ``num_classes`` organs: the one of class k has its own place
    and range of brightness.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels.
        num_classes: number of classes.
        image_size: size of the image in voxels, one number per axis.
        seed: the same seed gives the same cases.
        separate_noise: give the noise as ``noise``, a tensor of the image's shape, and not in the image, whose edges
            are then as smooth as a scanner's point spread makes them: what a network shall make.

    Returns:
        At least 160 (2D) or 40 (3D) items, as many of each class and at least 3: ``image`` float32
        (in_channels, *image_size) in [0, 1], ``class_label`` (0 to ``num_classes`` - 1), ``class_name`` and ``case``.
    """
    cases = []
    for index in range(max(-(-_NUM_CLASS_CASES[spatial_dims] // num_classes), 3) * num_classes):
        label = index % num_classes
        random = np.random.default_rng([seed, index])
        name = f"phantom_{index:03d}"
        case = _phantom(name, random, in_channels, num_classes + 1, image_size, separate_noise, only=label)
        del case["label"]
        cases.append({**case, "class_label": label, "class_name": f"organ_{label + 1}"})
    return cases


def _phantom(
    case: str,
    random: np.random.Generator,
    in_channels: int,
    num_classes: int,
    size: Sequence[int],
    separate_noise: bool,
    only: int | None = None,
) -> dict[str, Any]:
    """A phantom with all organs, or with one of them, which is then as large as one of two."""
    axes = [np.linspace(-1, 1, length, dtype=np.float32) for length in size]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))  # (spatial_dims, *size)
    body = _ellipsoid(grid, random.uniform(-0.05, 0.05, len(size)), random.uniform(0.8, 0.92, len(size)), 0.0)
    label: np.ndarray = np.zeros(size, dtype=np.uint8 if num_classes <= 256 else np.int32)
    tissue = body.astype(np.int32)  # 0 air, 1 body, 2 vessels, 2 + k organ k
    organs = num_classes - 1
    extent = (0.55 if len(size) == 2 else 0.7) / (max(organs, 2) if only is None else 2) ** 0.5
    for _ in range(6):
        vessel = _ellipsoid(grid, _inside(random, len(size), 0.6), np.full(len(size), random.uniform(0.04, 0.08)), 0.0)
        tissue[vessel & body] = 2
    turn = random.uniform(-0.3, 0.3)
    for organ in range(organs) if only is None else (only,):
        angle = 2 * np.pi * organ / max(organs, 2) + turn
        center = np.zeros(len(size))
        center[:2] = 0.45 * np.cos(angle), 0.45 * np.sin(angle)
        center += random.uniform(-0.08, 0.08, len(size))
        shape = _ellipsoid(grid, center, extent * random.uniform(0.55, 1.0, len(size)), random.uniform(0, np.pi))
        label[shape & body & (label == 0)] = organ + 1
    tissue = np.where(label > 0, label.astype(np.int32) + 2, tissue)
    channels = [_channel(random, tissue, grid, organs, channel) for channel in range(in_channels)]
    image, noise = (np.stack(part) for part in zip(*channels))  # (in_channels, *size) each
    if separate_noise:
        image = np.stack([gaussian_filter(channel, [_POINT_SPREAD * length for length in size]) for channel in image])
    else:
        image += noise
    name = case + (".png" if len(size) == 2 else ".nii.gz")
    meta = {
        "affine": torch.eye(4, dtype=torch.float64),
        "original_affine": torch.eye(4, dtype=torch.float64),
        "spatial_shape": np.asarray(size),
        "original_dtype": "float32",
        "original_channel_dim": 0,
        "filename_or_obj": name,
        "space": "RAS",
    }
    return {
        "image": MetaTensor(torch.from_numpy(image.clip(0, 1)), meta=dict(meta)),
        "label": MetaTensor(torch.from_numpy(label[None]), meta=dict(meta)),
        "case": case,
        **({"noise": torch.from_numpy(noise)} if separate_noise else {}),
    }


def _ellipsoid(grid: np.ndarray, center: np.ndarray, radii: np.ndarray, angle: float) -> np.ndarray:
    """Mask of an ellipsoid, turned by an angle in the plane of the first two axes."""
    place = grid - np.reshape(center, (-1, *[1] * (grid.ndim - 1))).astype(np.float32)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    place[0], place[1] = cos * place[0] + sin * place[1], cos * place[1] - sin * place[0]
    return sum((axis / np.float32(radius)) ** 2 for axis, radius in zip(place, radii)) <= 1


def _inside(random: np.random.Generator, dims: int, reach: float) -> np.ndarray:
    return random.uniform(-reach, reach, dims)


def _channel(
    random: np.random.Generator, tissue: np.ndarray, grid: np.ndarray, organs: int, channel: int
) -> tuple[np.ndarray, np.ndarray]:
    """One contrast: brightness of each tissue, times a smooth bias field; and its noise, both float32."""
    step = 0.5 / max(organs, 2)
    rank = (np.arange(organs) * (1 if channel % 2 == 0 else -1) + channel) % max(organs, 1)
    levels = np.concatenate([[0.02, 0.3, 0.85], 0.45 + step * rank + random.uniform(-0.3, 0.3, organs) * step])
    wave = random.uniform(0.5, 1.5, len(grid)).astype(np.float32)
    phase = np.tensordot(wave, grid, axes=1) + np.float32(random.uniform(0, 2 * np.pi))
    image = levels.astype(np.float32)[tissue] * (1 + _BIAS * np.sin(phase))
    return image.astype(np.float32), random.normal(0, _NOISE, tissue.shape).astype(np.float32)
