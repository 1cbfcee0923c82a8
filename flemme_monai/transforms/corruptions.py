"""What may happen to an image between the patient and the network, in strengths from 0 to 1."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    AdjustContrast,
    GaussianSmooth,
    KSpaceSpikeNoise,
    MapTransform,
    RandBiasField,
    RandGaussianNoise,
    Rotate,
)
from monai.utils import convert_to_tensor

from .ghosting import Ghosting
from .screen_photo import RandScreenPhotod

Random = np.random.RandomState
LARGEST_ANGLE = math.radians(45)


@dataclass(frozen=True)
class Corruption:
    """A corruption of images whose values are from 0 (black) to 1.

    Args:
        change: from an image (C, *S), its strength above 0 and a random state to the changed image.
        moves: whether it moves the image; ``change`` then also takes and gives the label (C, *S).
        volumes: whether it is one of volumes too.
    """

    change: Callable[..., Any]
    moves: bool = False
    volumes: bool = True


def _noise(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    transform = RandGaussianNoise(prob=1.0, std=0.3 * strength, sample_std=False)
    transform.set_random_state(state=random)
    return convert_to_tensor(transform(image))


def _blur(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    return convert_to_tensor(GaussianSmooth(sigma=0.015 * strength * min(image.shape[1:]))(image))


def _contrast(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    return convert_to_tensor(AdjustContrast(gamma=4 ** (strength * random.choice([-1, 1])))(image))


def _k_space_spike(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    place = [
        side // 2 + int(random.choice([-1, 1]) * random.randint(max(1, side // 16), max(2, side // 4)))
        for side in image.shape[1:]
    ]
    amplitude = 0.5 * strength * math.prod(image.shape[1:])  # of a wave of 0.5 at strength 1
    return convert_to_tensor(KSpaceSpikeNoise(tuple(place), math.log(amplitude))(image))


def _bias_field(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    transform = RandBiasField(degree=3, coeff_range=(-0.6 * strength, 0.6 * strength), prob=1.0)
    transform.set_random_state(state=random)
    return convert_to_tensor(transform(image))


def _ghosting(image: torch.Tensor, strength: float, random: Random) -> torch.Tensor:
    return Ghosting(strength, num_ghosts=int(random.randint(2, 6)), axis=int(random.randint(2)))(image)


def _rotation(
    image: torch.Tensor, label: torch.Tensor, strength: float, random: Random
) -> tuple[torch.Tensor, torch.Tensor]:
    angle = LARGEST_ANGLE * strength * random.choice([-1, 1])
    turn = Rotate(angle if image.ndim == 3 else (0.0, 0.0, angle), padding_mode="zeros")  # about the axis of slices
    return turn(image, mode="bilinear"), turn(label.float(), mode="nearest")


def _screen_photo(
    image: torch.Tensor, label: torch.Tensor, strength: float, random: Random
) -> tuple[torch.Tensor, torch.Tensor]:
    keys, modes = ["image", "label"], ["bilinear", "nearest"]
    transform = RandScreenPhotod(keys, modes, strength=strength, intensity_range=(0.0, 1.0))
    transform.set_random_state(state=random)
    item = transform({"image": image, "label": label})
    return item["image"], item["label"]


CORRUPTIONS = {
    "screen_photo": Corruption(_screen_photo, moves=True, volumes=False),
    "noise": Corruption(_noise),
    "blur": Corruption(_blur),
    "contrast": Corruption(_contrast),
    "rotation": Corruption(_rotation, moves=True),
    "k_space_spike": Corruption(_k_space_spike),
    "bias_field": Corruption(_bias_field),
    "ghosting": Corruption(_ghosting),
}


class Corruptd(MapTransform):
    """Corrupts an item's image, and moves its label with it, the same way each time.

    What is random is fixed by the seed, the corruption and ``item["case"]``, so that all networks see the same images,
    and that one strength differs from another by nothing else.

    Args:
        name: a key of ``CORRUPTIONS``.
        strength: from 0 to 1.
        seed: of what is random.

    Raises:
        ValueError: If there is no such corruption or strength.
    """

    def __init__(self, name: str, strength: float, seed: int = 0) -> None:
        super().__init__(["image", "label"])
        if name not in CORRUPTIONS:
            raise ValueError(f"name is {name!r}; expected one of {', '.join(CORRUPTIONS)}")
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is {strength}; expected a number from 0 to 1")
        self.name = name
        self.strength = strength
        self.seed = seed

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Corrupts one item.

        Args:
            data: ``image`` and ``label`` (C, *S) and ``case``.

        Returns:
            The item with its image, in its own range of values and beyond where noise leads there, and its label.
        """
        item = dict(data)
        if self.strength == 0:
            return item
        corruption = CORRUPTIONS[self.name]
        code = zlib.crc32(f"{self.seed} {self.name} {item['case']}".encode(errors="surrogateescape"))
        random = np.random.RandomState(code)
        image, label = (convert_to_tensor(item[key], track_meta=False) for key in ("image", "label"))
        low, high = image.float().aminmax()
        span = high - low
        levels = (image.float() - low) / torch.where(span > 0, span, 1.0)
        if corruption.moves:
            levels, moved = corruption.change(levels, label, self.strength, random)
            item["label"] = _like(item["label"], convert_to_tensor(moved, track_meta=False).to(label.dtype))
        else:
            levels = corruption.change(levels, self.strength, random)
        item["image"] = _like(item["image"], convert_to_tensor(levels, track_meta=False).float() * span + low)
        return item


def _like(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values with an image's meta data, where it has any."""
    if not isinstance(image, MetaTensor):
        return values
    return MetaTensor(values, meta=dict(image.meta), applied_operations=image.applied_operations)
