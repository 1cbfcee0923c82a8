"""Interpolation between two or four samples: between the initial noises of seeds, or the latents of images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from ..data import CaseDataset
from .noise import InitialNoise, class_labels, initial_noise, sample_vectors


def interpolate(a: torch.Tensor, b: torch.Tensor, steps: int, spherical: bool = False) -> torch.Tensor:
    """Points from ``a`` to ``b``, both included.

    Args:
        a: a latent or a noise, of any shape.
        b: another of that shape.
        steps: number of points.
        spherical: by equal angles (slerp, Shoemake 1985), which keeps the norm of Gaussian noise; else by equal steps
            on a straight line, for latents.

    Returns:
        (steps, *shape).

    Raises:
        ValueError: If the shapes are unequal, or there are fewer than 2 steps.
    """
    if a.shape != b.shape:
        raise ValueError(f"the ends have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one shape.")
    if steps < 2:
        raise ValueError(f"steps is {steps}; expected 2 or more.")
    weights = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view([-1] + [1] * a.ndim)
    if spherical:
        angle = torch.arccos(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1))
        if torch.sin(angle) > 1e-4:
            return (torch.sin((1 - weights) * angle) * a + torch.sin(weights * angle) * b) / torch.sin(angle)
    return torch.lerp(a, b, weights)


def corners(ends: Sequence[torch.Tensor], side: int, spherical: bool = False) -> torch.Tensor:
    """Points of a square between four corners, row by row; arguments and Returns as of :func:`interpolate`.

    Args:
        ends: upper left, upper right, lower left, lower right.
        side: points along each side, corners included.
    """
    rows = interpolate(ends[0], ends[2], side, spherical), interpolate(ends[1], ends[3], side, spherical)
    return torch.cat([interpolate(left, right, side, spherical) for left, right in zip(*rows)])


def square_side(num_samples: int) -> int:
    """The side of a square of that many samples.

    Raises:
        ValueError: If they make none.
    """
    side = math.isqrt(num_samples)
    if side * side != num_samples or side < 2:
        raise ValueError(f"num_samples is {num_samples}; expected a square between four ends: set it to 9, 16 or 25.")
    return side


class SeedInterpolation(InitialNoise):
    """Data set of initial noises from one seed to another, by equal angles; items as of :class:`InitialNoise`.

    Args:
        seeds: both ends, which are the first samples of these seeds; or four corners of a square, row by row.
        num_samples: number of samples, both ends included; of a square its side squared.
        shape, num_classes, vector: as :class:`InitialNoise`.
        class_label: the one class of all samples, where there are classes.

    Raises:
        ValueError: If the ends are not two seeds, there are fewer than 2 samples, or not one class.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        num_samples: int,
        shape: Sequence[int],
        num_classes: int | None = None,
        class_label: int | None = None,
        vector: float | Sequence[float] | None = None,
    ) -> None:
        ends = _ends(seeds, int)
        super().__init__(num_samples, shape, ends[0], num_classes, class_label, vector=vector)
        _check_one_class(num_classes, class_label)
        noises = [initial_noise(shape, seed) for seed in ends]
        if len(ends) == 4:
            self.noises = corners(noises, square_side(num_samples), spherical=True)
        else:
            self.noises = interpolate(noises[0], noises[1], num_samples, spherical=True)

    def noise(self, index: int) -> torch.Tensor:
        """The noise (C, *S) of sample ``index``."""
        return self.noises[index]


class ImageInterpolation(Dataset):
    """Data set of two images and interpolation weights, for ``flemme_monai.inferers.InterpolationInferer``.

    Item i has ``image`` and ``other`` (C, *S), ``weight``, from 0 at ``image`` to 1 at ``other``, ``case``, and
    ``class_label`` with ``num_classes``. Of four images ``other`` has the last three (3, C, *S), and ``weight`` one for
    each of all four.

    Args:
        images: files of both ends, or of the four corners of a square, row by row.
        num_samples: number of samples, both ends included; of a square its side squared.
        transform: reads ``image`` and brings it to the size that the network takes whole.
        spatial_dims: axes of the network.
        num_classes: classes that the autoencoder was trained with; None: not used.
        class_label: the one class of both images, where there are classes.
        vector: the numbers of both images, where the autoencoder takes some.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the ends are not two readable images, there are fewer than 2 samples, or not one class.
    """

    def __init__(
        self,
        images: Sequence[str | os.PathLike],
        num_samples: int,
        transform: Compose | Callable[[dict[str, Any]], dict[str, Any]],
        spatial_dims: int,
        num_classes: int | None = None,
        class_label: int | None = None,
        vector: float | Sequence[float] | None = None,
    ) -> None:
        ends = _ends(images, (str, os.PathLike))
        self.vector = None if vector is None else sample_vectors(vector)[0]
        self.labels = class_labels(num_samples, num_classes, class_label)
        _check_one_class(num_classes, class_label)
        if len(ends) == 4:
            self.weights = corners(list(torch.eye(4)), square_side(num_samples))
        else:
            self.weights = interpolate(torch.zeros(()), torch.ones(()), num_samples)
        cases = [{"image": str(path), "case": Path(path).name} for path in ends]
        loaded = CaseDataset(cases, Compose([transform]), progress=False)
        self.image, *others = (convert_to_tensor(loaded[i]["image"]) for i in range(len(ends)))
        for path, image in zip(ends, (self.image, *others)):
            if image.ndim != 1 + spatial_dims:
                raise ValueError(
                    f"{path}: has {image.ndim - 1} axes and the network {spatial_dims}; give images of the network's "
                    "kind, such as slices of a volume as files of their own."
                )

        self.other = others[0] if len(others) == 1 else torch.stack([convert_to_tensor(x) for x in others])

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {
            "image": self.image,
            "other": self.other,
            "weight": self.weights[index],
            "case": f"sample_{index:03d}",
        }
        if self.vector is not None:
            item["vector"] = self.vector
        return item if self.labels is None else {**item, "class_label": self.labels[index]}


def _ends(ends: Any, kind: type | tuple[type, ...]) -> list[Any]:
    """Both ends, or four corners, of one kind."""
    if isinstance(ends, (list, tuple)) and len(ends) in (2, 4) and all(isinstance(end, kind) for end in ends):
        return list(ends)
    if kind is int:
        raise ValueError(
            f"interpolate_between is {ends!r}; expected two seeds, as [3, 17], or two image files, as ['a', 'b'], or "
            "four of them."
        )
    prior = " An auto-encoder has no prior to draw seeds from: take a VAE for that." if _has_number(ends) else ""
    raise ValueError(f"interpolate_between is {ends!r}; expected two image files, as ['a.png', 'b.png'].{prior}")


def _has_number(ends: Any) -> bool:
    return any(isinstance(end, int) for end in (ends if isinstance(ends, (list, tuple)) else [ends]))


def _check_one_class(num_classes: int | None, class_label: int | Sequence[int] | None) -> None:
    if num_classes is not None and not isinstance(class_label, int):
        raise ValueError(
            f"class_label is {class_label}; expected one of 0 to {num_classes - 1}, since an interpolation has one "
            "class."
        )
