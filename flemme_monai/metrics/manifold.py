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


class DensityCoverage(NamedTuple):
    """Density, 0 to no bound, and coverage, 0 to 1."""

    density: float
    coverage: float


def density_coverage(real: torch.Tensor, generated: torch.Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, arXiv:2002.09797), which single outliers move less than precision and
    recall.

    Density is the number of balls around real points that a generated point lies in, over k: 1 for samples of the
    distribution itself. Coverage is the share of real points with a generated one in their ball.

    Args:
        real: (N, F).
        generated: (M, F).
        k: which neighbour gives a ball's radius.

    Raises:
        ValueError: If k is no neighbour, or there are not more than k images of each kind.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected 1 or more")
    check_features(real, generated, least=k + 1)
    points, support = generated.double().numpy(), real.double().numpy()
    inside = _inside(points, support, k)  # (M, N)
    return DensityCoverage(float(inside.sum(1).mean() / k), float(inside.any(0).mean()))


def one_neighbour_accuracy(real: torch.Tensor, generated: torch.Tensor) -> float:
    """Accuracy with which the nearest neighbour of each point, left out itself, tells real from generated ones.

    0.5 where the two cannot be told apart, 1 where each is among its own kind, and below 0.5 where samples copy real
    points (Lopez-Paz and Oquab 2017, arXiv:1610.06545). It is for as many real points as generated ones: of the larger
    set as many are taken, from all over it.

    Args:
        real: (N, F).
        generated: (M, F).

    Raises:
        ValueError: If there are fewer than two images of each kind.
    """
    from sklearn.neighbors import NearestNeighbors

    check_features(real, generated, least=2)
    count = min(len(real), len(generated))
    parts = [x[torch.linspace(0, len(x) - 1, count).round().long()] for x in (real, generated)]
    points = torch.cat(parts).double().numpy()
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points).kneighbors()[1][:, 0]
    return float(((nearest < count) == (np.arange(2 * count) < count)).mean())


def _inside(points: np.ndarray, support: np.ndarray, k: int) -> np.ndarray:
    """Whether each point (M, F) lies in the ball around each of ``support`` (N, F): (M, N)."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(support).kneighbors()[0][:, -1]  # (N,)
    inside = pairwise_distances_chunked(points, support, reduce_func=lambda chunk, _: chunk <= radii)
    return np.concatenate(list(inside))


def _share_inside(points: np.ndarray, support: np.ndarray, k: int) -> float:
    """Share of points (M, F) in the manifold of ``support`` (N, F)."""
    return float(_inside(points, support, k).any(1).mean())
