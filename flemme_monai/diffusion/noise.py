"""The noise that sampling starts from, fixed by a seed, and the classes of samples."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


def noise_generator(seed: int, *indices: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator whose numbers are independent of those of any other seed or indices, by NumPy's ``SeedSequence``.

    Raises:
        ValueError: If the seed or an index is negative.
    """
    if min(seed, *indices) < 0:
        raise ValueError(f"seed is {seed}, with indices {list(indices)}; expected 0 or more.")
    (state,) = np.random.SeedSequence([seed, *indices]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state))


def image_generators(images: torch.Tensor, seed: int) -> list[torch.Generator]:
    """A generator for each of ``images`` (B, ...), on their device, fixed by the seed and the image itself.

    So what is drawn for an image does not depend on its batch or its place in it.
    """
    arrays = images.detach().float().cpu().numpy()  # (B, ...)
    return [noise_generator(seed, zlib.crc32(array.tobytes()), device=images.device) for array in arrays]


def initial_noise(shape: Sequence[int], seed: int, index: int = 0) -> torch.Tensor:
    """Standard normal noise (C, *S) of a seed's sample ``index``, the same on every device and in every batch."""
    return torch.randn(tuple(shape), generator=noise_generator(seed, index))


class InitialNoise(Dataset):
    """Data set of the initial noise of samples, with what their network takes as context.

    Item i has ``image``, the noise (C, *S) of ``seed`` and i, and ``case``; also ``class_label`` with ``num_classes``,
    ``slice`` with ``position``, and ``vector`` with ``vector``. Samples of different seeds are independent.

    Args:
        num_samples: how many.
        shape: C and *S of one sample.
        seed: of all samples.
        num_classes: classes that the network was trained with; None: not used.
        class_label: class of all samples, or one class per sample; None takes all classes in turn.
        position: index of the slice that all samples are to look like, or several that take turns; None: not used.
        vector: the numbers of all samples, or of several that take turns; None: not used.

    Raises:
        ValueError: If there is no sample, a class is not among ``num_classes``, the class labels are neither one nor
            ``num_samples``, or a position is not an index.
    """

    def __init__(
        self,
        num_samples: int,
        shape: Sequence[int],
        seed: int = 0,
        num_classes: int | None = None,
        class_label: int | Sequence[int] | None = None,
        position: int | Sequence[int] | None = None,
        vector: float | Sequence[float] | Sequence[Sequence[float]] | None = None,
    ) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; expected 1 or more.")
        self.num_samples, self.shape, self.seed = num_samples, tuple(shape), seed
        self.labels = class_labels(num_samples, num_classes, class_label)
        self.positions = None if position is None else [position] if isinstance(position, int) else list(position)
        valid = self.positions is None or all(isinstance(i, int) and i >= 0 for i in self.positions)
        if not valid or self.positions == []:
            raise ValueError(f"position is {position}; expected the index of a slice, 0 or more, or a list of them.")

        self.vectors = None if vector is None else sample_vectors(vector)

    def __len__(self) -> int:
        return self.num_samples

    def noise(self, index: int) -> torch.Tensor:
        """The noise (C, *S) of sample ``index``."""
        return initial_noise(self.shape, self.seed, index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {"image": self.noise(index), "case": f"sample_{index:03d}"}
        if self.labels is not None:
            item["class_label"] = self.labels[index]
        if self.positions is not None:
            item["slice"] = self.positions[index % len(self.positions)]
        if self.vectors is not None:
            item["vector"] = self.vectors[index % len(self.vectors)]
        return item


def sample_vectors(vector: float | Sequence[float] | Sequence[Sequence[float]]) -> np.ndarray:
    """The numbers (N, n) that N samples take turns with: of one number, of some of one sample, or of several samples.

    Raises:
        ValueError: If they are no numbers, or not as many in each.
    """
    try:
        found = np.atleast_2d(np.asarray(vector, dtype=np.float32))
    except (TypeError, ValueError):
        found = np.zeros((0, 0, 0), np.float32)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"condition_vector is {vector!r}; expected a number per column, as [63, 1], or a list of such for samples "
            "that take turns."
        )
    return found


def class_labels(
    num_samples: int, num_classes: int | None, class_label: int | Sequence[int] | None
) -> list[int] | None:
    """The class of each sample; None without classes.

    Args:
        num_samples: how many.
        num_classes, class_label: as :class:`InitialNoise`.

    Raises:
        ValueError: If a class is not among ``num_classes``, or the labels are neither one nor ``num_samples``.
    """
    if num_classes is None:
        if class_label is not None:
            raise ValueError(
                f"class_label is {class_label}; expected none without num_classes, on an unconditional model: leave "
                "class_label out, or set num_classes to what the model was trained with."
            )
        return None
    each = range(num_classes) if class_label is None else class_label
    each = [each] if isinstance(each, int) else list(each)
    if class_label is not None and len(each) not in (1, num_samples):
        raise ValueError(
            f"there are {len(each)} class labels for {num_samples} samples; expected one, or {num_samples}."
        )
    wrong = [label for label in each if not isinstance(label, int) or not 0 <= label < num_classes]
    if wrong:
        raise ValueError(f"class_label is {wrong[0]}; expected 0 to {num_classes - 1}, as num_classes says.")
    return [each[i % len(each)] for i in range(num_samples)]
