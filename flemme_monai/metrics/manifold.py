"""How much of the generated images is real, and how much of the real images is generated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .distribution import check_features


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
        ValueError: If k is no neighbour, or there are not more than k images of each kind.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 or more")
    check_features(real, generated, least=k + 1)
    points = real.double().numpy(), generated.double().numpy()
    return PrecisionRecall(_share_inside(points[1], points[0], k), _share_inside(points[0], points[1], k))


def _share_inside(points: np.ndarray, support: np.ndarray, k: int) -> float:
    """Share of points (M, F) in the manifold of ``support`` (N, F)."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(support).kneighbors()[0][:, -1]  # (N,)
    inside = pairwise_distances_chunked(points, support, reduce_func=lambda chunk, _: (chunk <= radii).any(1))
    return float(np.concatenate(list(inside)).mean())
