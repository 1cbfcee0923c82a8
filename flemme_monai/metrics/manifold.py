"""How much of the generated images is real, and how much of the real images is generated."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .distribution import ROWS, check_features


class PrecisionRecall(NamedTuple):
    """Both shares, 0 to 1."""

    precision: float
    recall: float


def precision_recall(real: torch.Tensor, generated: torch.Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991).

    The manifold of a set is the union of balls around its points that reach to their k-th nearest neighbour. Precision
    is the share of generated points in the real manifold, recall the share of real points in the generated one.

    Args:
        real: (N, F).
        generated: (M, F).
        k: which neighbour gives a ball's radius.

    Returns:
        Precision and recall.

    Raises:
        ValueError: k is no neighbour, or there are not more than k images of each kind.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    check_features(real, generated, least=k + 1)
    real, generated = real.double(), generated.double()
    return PrecisionRecall(_share_inside(generated, real, k), _share_inside(real, generated, k))


def _share_inside(points: torch.Tensor, support: torch.Tensor, k: int) -> float:
    """Share of points (M, F) in the manifold of ``support`` (N, F)."""
    # each point is its own nearest
    radii = torch.cat([torch.cdist(rows, support).kthvalue(k + 1, dim=1).values for rows in support.split(ROWS)])
    inside = torch.cat([(torch.cdist(rows, support) <= radii).any(1) for rows in points.split(ROWS)])  # (M,)
    return float(inside.double().mean())
