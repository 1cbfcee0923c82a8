"""Distances between the distributions of real and generated features (N, F)."""

from __future__ import annotations

from collections.abc import Callable

import torch

ROWS = 1024
BANDWIDTH_POINTS = 1000


def check_features(real: torch.Tensor, generated: torch.Tensor, least: int = 2) -> None:
    """Check that two sets of features can be compared.

    Args:
        real: (N, F).
        generated: (M, F).
        least: smallest N and M.

    Raises:
        ValueError: If they are no matrices of one width, have too few rows, or values that are not finite.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"features are {tuple(real.shape)} real and {tuple(generated.shape)} generated; expected (N, F) and (M, F)"
        )
    for name, features in (("real", real), ("generated", generated)):
        if len(features) < least:
            raise ValueError(f"there are {len(features)} {name} images; expected {least} or more for this metric")
        if not torch.isfinite(features).all():
            raise ValueError(f"features of {name} images have values that are not finite")


def fid(real: torch.Tensor, generated: torch.Tensor) -> float:
    """Fréchet distance of the Gaussians fitted to both sets (Heusel et al. 2017, arXiv:1706.08500).

    ``|m_r - m_g|^2 + tr(S_r + S_g - 2 (S_r S_g)^(1/2))``. With ``S = A^T A``, where A are the centred features by
    ``sqrt(N - 1)``, the last trace is the nuclear norm of ``A_r A_g^T``. This is exact where covariances are singular
    (fewer images than features). There ``FIDMetric`` of MONAI 1.6.1 takes SciPy's root of a product that has none: its
    value is off by up to 1 in 10,000, below 0 for equal sets, or an error about an imaginary part; elsewhere both
    agree. The estimate is biased upwards for few images: compare only values from equal numbers of them.

    Args:
        real: (N, F).
        generated: (M, F).

    Returns:
        The distance, 0 for equal means and covariances.
    """
    check_features(real, generated)
    means, factors = [], []
    for features in (real.double(), generated.double()):
        means.append(features.mean(0))
        centred = (features - means[-1]) / (len(features) - 1) ** 0.5  # (N, F)
        factors.append(torch.linalg.qr(centred, mode="r").R)  # (min(N, F), F), R^T R is the covariance
    root = torch.linalg.matrix_norm(factors[0] @ factors[1].T, "nuc")
    distance = (means[0] - means[1]).square().sum() + sum(factor.square().sum() for factor in factors) - 2 * root
    return max(float(distance), 0.0)


def kid(real: torch.Tensor, generated: torch.Tensor) -> float:
    """Kernel distance: unbiased squared MMD with ``(x y / F + 1)^3`` (Binkowski et al. 2018, arXiv:1801.01401).

    All pairs are used instead of the mean over random subsets: the same expectation, less variance, no seed.

    Args:
        real: (N, F).
        generated: (M, F).

    Returns:
        The estimate, around 0 for one distribution and then as often negative.
    """
    check_features(real, generated)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    return _squared_mmd(real, generated, kernel)


def mmd(real: torch.Tensor, generated: torch.Tensor, bandwidth: float | None = None) -> float:
    """Unbiased squared MMD with the Gaussian kernel ``exp(-|x - y|^2 / (2 bandwidth^2))`` (Gretton et al. 2012, eq. 3).

    ``monai.metrics.MMDMetric`` has the linear kernel, which sees the means only, and takes sets of one size.

    Args:
        real: (N, F).
        generated: (M, F).
        bandwidth: in units of the features; by default the median distance between real images, so that generators
            compared with the same images share it.

    Returns:
        The estimate, around 0 for one distribution and then as often negative; at most 2.

    Raises:
        ValueError: If most real features are the same, which leaves no bandwidth.
    """
    check_features(real, generated)
    if bandwidth is None:
        step = -(-len(real) // BANDWIDTH_POINTS)
        bandwidth = float(torch.pdist(real[::step].double()).median())
    if not bandwidth > 0:
        raise ValueError(
            f"the bandwidth is {bandwidth}; expected above 0: most real features are the same, train the classifier"
        )

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.exp(-torch.cdist(x, y).square() / (2 * bandwidth**2))

    return _squared_mmd(real, generated, kernel)


def _squared_mmd(
    real: torch.Tensor, generated: torch.Tensor, kernel: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> float:
    """Mean kernel of real pairs and of generated pairs, less twice that of mixed pairs; no point pairs with itself."""
    real, generated = real.double(), generated.double()
    within = 0.0
    for points in (real, generated):
        total = 0.0
        for start in range(0, len(points), ROWS):
            values = kernel(points[start : start + ROWS], points)  # (ROWS, N)
            total += float(values.sum() - values.diagonal(start).sum())
        within += total / (len(points) * (len(points) - 1))
    mixed = sum(float(kernel(rows, generated).sum()) for rows in real.split(ROWS))
    return within - 2 * mixed / (len(real) * len(generated))
