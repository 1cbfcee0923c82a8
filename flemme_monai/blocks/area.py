"""Features at another size: by averages over areas, which exported programs can do at any size too, or linearly."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def area_resize(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Features ``x`` (B, C, *s) pooled to (B, C, *size): each value is the mean of its area (adaptive pooling)."""
    if not torch.jit.is_scripting():  # noqa: SIM102, scripting compiles all of a condition
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return _by_matrices(x, size)
    return F.interpolate(x, size=size, mode="area")


def resized_like(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``x`` (B, C, *s) at the size of another feature or image, by :func:`area_resize` where the sizes differ."""
    return x if x.shape[2:] == other.shape[2:] else area_resize(x, list(other.shape[2:]))


def linear_resize(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Features ``x`` (B, C, *s) interpolated linearly to (B, C, *size); positions are areas, whose borders stay."""
    mode = "bilinear" if x.dim() == 4 else "trilinear"
    return F.interpolate(x, size=size, mode=mode, align_corners=False)


def _by_matrices(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    """The same by a matrix of weights per axis: exporters fix the windows of adaptive pooling to the size they see."""
    for axis, cells in enumerate(size, start=2):
        position = torch.arange(x.shape[axis], device=x.device)
        cell = torch.arange(cells, device=x.device)[:, None]
        length, count = position[-1:] + 1, cell[-1:] + 1  # tensors: exporters take no symbol in place of a number
        first, end = cell * length // count, -(-(cell + 1) * length // count)
        inside = ((position >= first) & (position < end)).to(x.dtype)  # (cells, s)
        weights = inside / (end - first).to(x.dtype)
        x = (x.movedim(axis, -1) @ weights.mT).movedim(-1, axis)
    return x
