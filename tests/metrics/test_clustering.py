"""Clusters of latents, and neighbours of generated points."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.metrics import cluster_scores, density_coverage, one_neighbour_accuracy

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def test_clusters_that_are_the_classes_have_full_marks() -> None:
    classes = torch.arange(30) % 3
    latents = CENTRES[classes] + torch.randn(30, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    scores = cluster_scores(latents, classes)
    assert scores.pop("mutual_information") == pytest.approx(torch.log(torch.tensor(3.0)).item())  # ln 3 nats
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0))
    assert set(scores) == {
        "rand",
        "adjusted_rand",
        "normalized_mutual_information",
        "adjusted_mutual_information",
        "accuracy",
    }


def test_clusters_that_are_not_the_classes() -> None:
    places = torch.arange(40) % 2  # the clusters
    classes = torch.arange(40) // 2 % 2  # half of each class in each cluster
    scores = cluster_scores(CENTRES[places], classes)
    assert scores["accuracy"] == 0.5
    assert scores["mutual_information"] == pytest.approx(0.0, abs=1e-9)
    assert scores["adjusted_rand"] < 0.01
    assert cluster_scores(CENTRES[places], classes) == scores
    with pytest.raises(ValueError, match="expected two or more"):
        cluster_scores(CENTRES[places], torch.zeros(40))


def test_samples_of_the_distribution_itself_are_dense_cover_it_and_are_not_told_apart() -> None:
    draw = torch.Generator().manual_seed(0)
    real, samples = (torch.randn(400, 2, generator=draw) for _ in range(2))
    found = density_coverage(real, samples)
    assert found.density == pytest.approx(1.0, abs=0.1)
    assert found.coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # expected for k = 5 and sets of one size
    assert one_neighbour_accuracy(real, samples) == pytest.approx(0.5, abs=0.06)


def test_samples_elsewhere_and_copies() -> None:
    real = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert density_coverage(real, real + 100) == (0.0, 0.0)
    assert one_neighbour_accuracy(real, real + 100) == 1.0
    assert one_neighbour_accuracy(real, real + 1e-4) == 0.0  # each one's nearest is its copy
    one = real[:1].repeat(50, 1) + torch.linspace(0, 1e-3, 50)[:, None]  # all samples at one point
    assert density_coverage(real, one).coverage < 0.3
    with pytest.raises(ValueError, match="k is 0"):
        density_coverage(real, real, k=0)
