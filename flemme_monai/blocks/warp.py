"""Affine transforms of positions, and values at moved positions.

Glossary: B transforms, d axes (2 or 3), N positions of a grid, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """A tensor of at least 32 bits: 16 would move positions by parts of a voxel."""
    return x if x.dtype == torch.float64 else x.float()


def turn(angle: torch.Tensor, i: int, j: int, d: int) -> torch.Tensor:
    """Rotations (B, d, d) by angles (B) from axis i towards axis j."""
    none, whole, cos, sin = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    rows: list[torch.Tensor] = []
    for row in range(d):
        for column in range(d):
            if row == column:
                rows.append(cos if row in (i, j) else whole)
            elif row == i and column == j:
                rows.append(-sin)
            elif row == j and column == i:
                rows.append(sin)
            else:
                rows.append(none)
    return torch.stack(rows, 1).view(-1, d, d)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product of matrices (B, d, d), term by term: autocast would round a matrix product to 16 bits."""
    return (a[:, :, :, None] * b[:, None]).sum(2)


def extents(size: list[int], like: torch.Tensor) -> torch.Tensor:
    """A size as a tensor (d), which exporters take where a number would be fixed."""
    return torch.cat([torch.arange(n, device=like.device)[-1:] + 1 for n in size]).to(full_precision(like[:1]).dtype)


def relative(matrix: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    """Matrices (B, d, d) of voxels as matrices of positions from -1 to 1 along each axis of an image (d voxels)."""
    return matrix * (extent[None, :] / extent[:, None])


def positions_of(size: list[int], like: torch.Tensor) -> torch.Tensor:
    """The centres of a grid's cells from -1 to 1 along each axis, (d, N)."""
    axes: list[torch.Tensor] = []
    for n in size:
        cell = torch.arange(n, device=like.device)
        axes.append(((2 * cell + 1) / (cell[-1:] + 1) - 1).to(like.dtype))
    return torch.stack([axis.flatten() for axis in torch.meshgrid(axes, indexing="ij")])


def moved(positions: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Positions (d, N) under transforms x -> matrix x + offset, (B, d, N)."""
    return (matrix[:, :, :, None] * positions).sum(2) + offset[:, :, None]


def sample(x: torch.Tensor, grid: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Values of ``x`` (B, C, *s) at positions (B, d, N) from -1 to 1, linearly interpolated, as (B, C, *size)."""
    places = grid.flip(1).transpose(1, 2).reshape([x.shape[0]] + size + [len(size)])  # the last axis comes first
    values = F.grid_sample(full_precision(x), places, mode="bilinear", padding_mode="border", align_corners=False)
    return values.to(x.dtype)
