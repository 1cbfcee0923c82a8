"""Makes zero-filled images from undersampled k-space: the input of reconstruction."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.fft_utils import fftn_centered
from monai.transforms import MapTransform, Randomizable


class UndersampleKspaced(Randomizable, MapTransform):
    """Replaces an image by the zero-filled magnitude image of its undersampled k-space.

    MONAI's ``EquispacedKspaceMask`` or ``RandomKspaceMask`` chooses the k-space columns (last axis of an image
    (C, H, W)) that are kept, the same for all channels and for all axial slices of a volume (C, H, W, D).

    Args:
        keys: images to undersample.
        mask: "equispaced" or "random".
        acceleration: columns in full k-space over columns kept, above 1.
        center_fraction: fraction of columns, in the centre, that is always kept; below 1 / ``acceleration``.
        seed: None draws a new mask each time; a number fixes the mask by seed, item["case"] and item["slice"].

    Raises:
        ValueError: If ``mask`` is unknown or the fractions do not fit.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        mask: str = "equispaced",
        acceleration: float = 4,
        center_fraction: float = 0.08,
        seed: int | None = None,
    ) -> None:
        from monai.apps.reconstruction.transforms.array import EquispacedKspaceMask, RandomKspaceMask

        super().__init__(keys)
        masks = {"equispaced": EquispacedKspaceMask, "random": RandomKspaceMask}
        if mask not in masks:
            raise ValueError(f"mask is {mask!r}; expected 'equispaced' or 'random'")
        if not (acceleration > 1 and 0 < center_fraction < 1 / acceleration):
            raise ValueError(
                f"acceleration is {acceleration} and center_fraction {center_fraction}; expected an acceleration "
                "above 1 and a center_fraction between 0 and 1 / acceleration"
            )
        self.acceleration = acceleration
        self.center_fraction = center_fraction
        self.masker = masks[mask](center_fractions=[center_fraction], accelerations=[acceleration], spatial_dims=2)
        self.seed = seed

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> UndersampleKspaced:
        """Seeds the masks drawn from now on; no effect when ``seed`` was given at construction."""
        super().set_random_state(seed, state)
        self.masker.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undersamples the images of one item.

        Args:
            data: item with images (C, H, W) or (C, H, W, D), and ``case`` (and ``slice``) when the mask is fixed.

        Returns:
            The item with its images replaced, shapes kept.

        Raises:
            ValueError: If an image has too few columns for the acceleration.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            if self.seed is not None:
                code = zlib.crc32(
                    f"{self.seed} {item['case']} {item.get('slice', '')}".encode(errors="surrogateescape")
                )
                self.masker.set_random_state(seed=code)
            item[key] = self._undersampled(item[key])
        return item

    def _undersampled(self, image: torch.Tensor) -> torch.Tensor:
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        columns = plain.shape[2]
        if round(columns * self.center_fraction) * self.acceleration >= columns:
            raise ValueError(
                f"the image has {columns} columns, of which the centre alone takes 1 / {self.acceleration:g} or more; "
                "give larger images, or lower acceleration or center_fraction"
            )
        slices = plain.movedim(-1, 1) if plain.ndim == 4 else plain  # (C, [D,] H, W)
        coils = slices.unsqueeze(-3).contiguous()  # a channel is a coil of its own: (C, [D,] 1, H, W)
        complex_coils = torch.stack([coils, torch.zeros_like(coils)], dim=-1)
        zero_filled = torch.as_tensor(self.masker(fftn_centered(complex_coils, spatial_dims=2))[1]).to(plain.dtype)
        if plain.ndim == 4:
            zero_filled = zero_filled.movedim(1, -1)
        zero_filled = zero_filled.contiguous()
        return MetaTensor(zero_filled, meta=dict(image.meta)) if isinstance(image, MetaTensor) else zero_filled
