"""The way between two samples: between the starts of two seeds, or the latents of two images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from ..data import CaseDataset
from .noise import StartNoise, class_labels, interpolate, start_noise


class SeedWay(StartNoise):
    """The starts on the way between two seeds, turned by equal angles; items as those of :class:`StartNoise`.

    Args:
        seeds: both ends, which are the first samples of these seeds.
        num_samples: points on the way, both ends included.
        shape, num_classes: as :class:`StartNoise`.
        class_label: the one class of all samples, where there are classes.

    Raises:
        ValueError: when the ends are no two seeds, there are fewer than 2 points, or not one class.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        num_samples: int,
        shape: Sequence[int],
        num_classes: int | None = None,
        class_label: int | None = None,
    ) -> None:
        first, last = _two(seeds, int)
        super().__init__(num_samples, shape, first, num_classes, class_label)
        _check_one_class(num_classes, class_label)
        self.starts = interpolate(start_noise(shape, first), start_noise(shape, last), num_samples, spherical=True)

    def start(self, index: int) -> torch.Tensor:
        """The noise (C, *S) at point ``index``."""
        return self.starts[index]


class ImageWay(Dataset):
    """Two images and how far from one to the other each sample is, for ``flemme_monai.inferers.BetweenInferer``.

    Item i has ``image`` and ``other`` (C, *S), ``weight``, 0 at the first and 1 at the other, ``case``, and
    ``class_label`` where there are classes.

    Args:
        images: files of both ends.
        num_samples: points on the way, both ends included.
        transform: reads ``image`` and brings it to the size that the network takes whole.
        spatial_dims: axes of the network.
        num_classes: classes that the autoencoder was trained with; None for none.
        class_label: the one class of both images, where there are classes.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the ends are no two readable images, there are fewer than 2 points, or not one class.
    """

    def __init__(
        self,
        images: Sequence[str | os.PathLike],
        num_samples: int,
        transform: Compose | Callable[[dict[str, Any]], dict[str, Any]],
        spatial_dims: int,
        num_classes: int | None = None,
        class_label: int | None = None,
    ) -> None:
        ends = _two(images, (str, os.PathLike))
        self.labels = class_labels(num_samples, num_classes, class_label)
        _check_one_class(num_classes, class_label)
        self.weights = interpolate(torch.zeros(()), torch.ones(()), num_samples)
        cases = [{"image": str(path), "case": Path(path).name} for path in ends]
        loaded = CaseDataset(cases, Compose([transform]), progress=False)
        self.image, self.other = (convert_to_tensor(loaded[i]["image"]) for i in range(2))
        for path, image in zip(ends, (self.image, self.other)):
            if image.ndim != 1 + spatial_dims:
                raise ValueError(
                    f"{path}: has {image.ndim - 1} axes and the network {spatial_dims}; give images of the network's "
                    "kind, such as slices of a volume as files of their own."
                )

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {
            "image": self.image,
            "other": self.other,
            "weight": self.weights[index],
            "case": f"sample_{index:03d}",
        }
        return item if self.labels is None else {**item, "class_label": self.labels[index]}


def _two(ends: Any, kind: type | tuple[type, ...]) -> tuple[Any, Any]:
    """Both ends, of one kind."""
    if isinstance(ends, (list, tuple)) and len(ends) == 2 and all(isinstance(end, kind) for end in ends):
        return ends[0], ends[1]
    if kind is int:
        raise ValueError(f"between is {ends!r}; expected two seeds, as [3, 17], or two image files, as ['a', 'b'].")
    prior = " An auto-encoder has no prior to draw seeds from: take a VAE for that." if _has_number(ends) else ""
    raise ValueError(f"between is {ends!r}; expected two image files, as ['a.png', 'b.png'].{prior}")


def _has_number(ends: Any) -> bool:
    return any(isinstance(end, int) for end in (ends if isinstance(ends, (list, tuple)) else [ends]))


def _check_one_class(num_classes: int | None, class_label: int | Sequence[int] | None) -> None:
    if num_classes is not None and not isinstance(class_label, int):
        raise ValueError(
            f"class_label is {class_label}; a way between two samples has one class: set class_label to one of 0 to "
            f"{num_classes - 1}."
        )
