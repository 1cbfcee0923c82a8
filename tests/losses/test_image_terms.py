"""Weighted sums of losses between images."""

from __future__ import annotations

import pytest
import torch
from monai.metrics import SSIMMetric
from torch import nn

from flemme_monai.losses import IMAGE_LOSSES, ImageLoss, VAELoss, pyramid_loss
from flemme_monai.metrics import StructuralSimilarity

A, B = torch.zeros(2, 1, 16, 16), torch.full((2, 1, 16, 16), 0.5)


def test_a_sum_is_that_of_its_terms_which_are_recorded() -> None:
    loss = ImageLoss(["l1", {"loss": "mse", "weight": 2.0}])
    assert loss(A, B).item() == pytest.approx(0.5 + 2 * 0.25)
    assert {name: term.item() for name, term in loss.recorded.items()} == {"l1": 0.5, "mse": 0.5}
    # SSIM of constants a and b: (2ab + c) / (a² + b² + c) with c = 0.01²
    assert ImageLoss("ssim")(A, B).item() == pytest.approx(1 - 1e-4 / (0.25 + 1e-4), abs=1e-5)
    assert ImageLoss([{"loss": "smooth_l1", "beta": 2.0}])(A, B).item() == pytest.approx(0.5 * 0.25 / 2.0)
    assert ImageLoss([{"loss": nn.L1Loss(), "weight": 3.0}])(A, B).item() == pytest.approx(1.5)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_every_loss_of_equal_images_is_none(name: str) -> None:
    assert ImageLoss([name])(B, B).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (16, 3), (1, 1), (12, 8, 16)])
def test_structural_similarity_of_small_images_has_a_window_of_their_size(size) -> None:
    image = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    loss, metric = ImageLoss(["ssim"], len(size)), StructuralSimilarity(len(size))
    assert loss(image, image).item() == pytest.approx(0.0, abs=1e-5)
    windowed = SSIMMetric(len(size), win_size=[min(n, 11) for n in size])(image, 1 - image)
    torch.testing.assert_close(metric(image, 1 - image), windowed)
    assert loss(image, 1 - image).item() == pytest.approx(1 - windowed.mean().item(), abs=1e-5)
    large = torch.rand(2, 1, *[16] * len(size))
    torch.testing.assert_close(metric(large, 1 - large), SSIMMetric(len(size))(large, 1 - large))


def test_terms_of_levels_and_of_a_divergence_are_recorded() -> None:
    loss = pyramid_loss(ImageLoss(["l1", "mse"]), 1, "area")
    total = loss([A, A[..., ::2, ::2]], B)
    assert total.item() == pytest.approx(2 * 0.75)
    assert {name: term.item() for name, term in loss.recorded.items()} == pytest.approx({"l1": 1.0, "mse": 0.5})
    vae = VAELoss(ImageLoss(["mse"]), kl_weight=0.1)
    total = vae([A, torch.zeros(2, 4), torch.ones(2, 4)], B)  # of no divergence
    assert {name: term.item() for name, term in vae.recorded.items()} == {"mse": 0.25, "divergence": 0.0}
    assert total.item() == 0.25


@pytest.mark.parametrize(
    ("terms", "message"),
    [([], "no terms"), (["l3"], "no loss 'l3'"), (["l1", "l1"], "twice"), ([{"loss": "l1", "weight": 0}], "above 0")],
)
def test_what_is_no_sum_is_refused(terms, message) -> None:
    with pytest.raises(ValueError, match=message):
        ImageLoss(terms)
