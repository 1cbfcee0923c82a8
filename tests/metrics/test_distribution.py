"""Distances of feature distributions agree with their closed forms."""

from __future__ import annotations

import math
from inspect import signature

import pytest
import torch
from monai.metrics import FIDMetric, MMDMetric
from scipy.linalg import sqrtm

from flemme_monai.metrics import fid, kid, mmd


def gaussian(count, mean, std):
    """Points whose sample mean and covariance are exactly those asked for."""
    points = torch.randn(count, len(mean), dtype=torch.float64)
    points -= points.mean(0)
    root = torch.linalg.cholesky(points.T.cov())
    white = torch.linalg.solve_triangular(root, points.T, upper=False).T
    return white * torch.tensor(std, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def test_fid_of_gaussians_is_the_closed_form():
    real = gaussian(50, [0.0, 0.0, 1.0], [1.0, 2.0, 3.0])
    generated = gaussian(80, [1.0, -2.0, 1.0], [2.0, 2.0, 0.5])
    assert fid(real, generated) == pytest.approx((1 + 4) + (1 + 0 + 2.5**2))


@pytest.mark.skipif("disp" not in signature(sqrtm).parameters, reason="FIDMetric of MONAI 1.6.1 needs an older SciPy")
def test_fid_of_correlated_gaussians_is_that_of_monai():
    mix = torch.randn(6, 6)
    real, generated = torch.randn(200, 6) @ mix, torch.randn(300, 6) + 0.3
    assert fid(real, generated) == pytest.approx(float(FIDMetric()(generated, real)), rel=1e-6)


def test_fid_of_fewer_images_than_features_is_that_of_their_subspace():
    axes = torch.linalg.qr(torch.randn(400, 8, dtype=torch.float64)).Q.T  # (8, 400)
    real, generated = gaussian(20, [0.0] * 8, [1.0] * 8), gaussian(30, [0.5] * 8, [2.0] * 8)
    assert fid(real @ axes, generated @ axes) == pytest.approx(8 * 0.25 + 8 * 1)


def test_fid_of_the_same_images_is_zero_and_not_negative():
    few = torch.randn(20, 64).relu()
    assert 0 <= fid(few, few) < 1e-9


def test_kid_of_shifted_gaussians_is_the_closed_form():
    # the cubic kernel of one feature compares the first three moments, with weights 3, 3 and 1
    shift = 0.5
    expected = 3 * shift**2 + 3 * shift**4 + (3 * shift + shift**3) ** 2
    values = torch.tensor([kid(torch.randn(40, 1), torch.randn(30, 1) + shift) for _ in range(3000)])
    error = float(values.std()) / len(values) ** 0.5
    assert error < 0.05 * expected
    assert abs(float(values.mean()) - expected) < 3 * error


def test_kid_and_mmd_are_unbiased():
    values = torch.tensor(
        [
            [kid(real, generated), mmd(real, generated)]
            for real, generated in ((torch.randn(6, 3), torch.randn(9, 3)) for _ in range(2000))
        ]
    )
    error = values.std(0) / len(values) ** 0.5
    assert (values.mean(0).abs() < 3 * error).all()
    assert (values < 0).any(0).all()


def test_the_kernel_of_kid_is_divided_by_the_number_of_features():
    real, generated = torch.randn(40, 5), torch.randn(30, 5) + 1
    repeated = kid(real.repeat(1, 4), generated.repeat(1, 4))
    assert repeated == pytest.approx(kid(real, generated))


def test_mmd_of_shifted_gaussians_is_the_closed_form():
    shift, width = 1.0, 0.8
    scale = width / math.sqrt(width**2 + 2)
    expected = 2 * scale * (1 - math.exp(-(shift**2) / (2 * (width**2 + 2))))
    assert mmd(torch.randn(6000, 1), torch.randn(5000, 1) + shift, width) == pytest.approx(expected, rel=0.1)


def test_mmd_sees_a_difference_that_monais_linear_kernel_does_not():
    real, generated = gaussian(200, [0.0, 0.0], [1.0, 1.0]), gaussian(200, [0.0, 0.0], [3.0, 3.0])
    same = gaussian(200, [0.0, 0.0], [1.0, 1.0])
    linear = float(MMDMetric()(real, generated)) - float(MMDMetric()(real, same))
    assert linear < 0
    assert mmd(real, generated) > 0.1 > mmd(real, same)


def test_blocks_of_rows_do_not_change_the_result(monkeypatch):
    real, generated = torch.randn(50, 4), torch.randn(33, 4) + 0.2
    whole = kid(real, generated), mmd(real, generated)
    monkeypatch.setattr("flemme_monai.metrics.distribution.ROWS", 7)
    assert (kid(real, generated), mmd(real, generated)) == pytest.approx(whole)


@pytest.mark.parametrize("metric", [fid, kid, mmd])
def test_features_that_cannot_be_compared_are_refused(metric):
    with pytest.raises(ValueError, match=r"features are \(5, 3\) real and \(5, 4\) generated"):
        metric(torch.rand(5, 3), torch.rand(5, 4))
    with pytest.raises(ValueError, match="1 generated images; expected 2 or more"):
        metric(torch.rand(5, 3), torch.rand(1, 3))
    with pytest.raises(ValueError, match="generated images have values that are not finite"):
        metric(torch.rand(5, 3), torch.full((5, 3), torch.nan))


def test_features_without_spread_leave_no_bandwidth():
    with pytest.raises(ValueError, match="most real features are the same"):
        mmd(torch.ones(5, 3), torch.rand(5, 3))
