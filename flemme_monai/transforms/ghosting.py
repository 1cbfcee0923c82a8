"""Ghosts of an MR image."""

from __future__ import annotations

import torch
from monai.config import NdarrayOrTensor
from monai.data.fft_utils import fftn_centered, ifftn_centered
from monai.transforms import Transform
from monai.utils import convert_to_tensor


class Ghosting(Transform):
    """Ghosts along the axis of phase encoding: copies of the image that a periodic change, as of breathing, makes.

    One of every ``num_ghosts`` lines of k-space is weaker; the central line is not one of them.

    Args:
        strength: by how much they are weaker; 0 has no effect, at 1 they are lost.
        num_ghosts: lines of a period, at least 2; copies lie a size divided by this apart.
        axis: of the image, from 0.

    Raises:
        ValueError: If ``num_ghosts`` is below 2.
    """

    def __init__(self, strength: float, num_ghosts: int = 2, axis: int = 0) -> None:
        if num_ghosts < 2:
            raise ValueError(f"num_ghosts is {num_ghosts}; expected at least 2")
        self.strength = strength
        self.num_ghosts = num_ghosts
        self.axis = axis

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """An image (C, *S) to its magnitude image with ghosts (C, *S)."""
        image = convert_to_tensor(img, track_meta=False, dtype=torch.float32)
        dims, size = image.ndim - 1, image.shape[self.axis + 1]
        lines = torch.arange(size) - size // 2
        weight = 1 - self.strength * (lines.remainder(self.num_ghosts) == self.num_ghosts // 2).float()
        weight = weight.view(-1, *[1] * (dims - 1 - self.axis), 1)  # the last axis is that of real and imaginary parts
        k_space = fftn_centered(torch.stack([image, torch.zeros_like(image)], -1), spatial_dims=dims)
        found = torch.as_tensor(ifftn_centered(k_space * weight, spatial_dims=dims))
        return torch.linalg.vector_norm(found, dim=-1)
