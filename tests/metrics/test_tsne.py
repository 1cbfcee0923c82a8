"""Latents as a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from flemme_monai.metrics import latent_picture
from flemme_monai.metrics.tsne import _embed


@pytest.fixture
def clusters():
    """Latents of three classes, far from each other."""
    labels = torch.arange(60) % 3
    return torch.randn(60, 8) + 20 * torch.eye(8)[labels], labels


def colours(path):
    array = np.asarray(Image.open(path).convert("RGB"), int)
    return len(np.unique(array[array.max(-1) - array.min(-1) > 40], axis=0))


def test_points_of_a_class_lie_together(clusters):
    latents, labels = clusters
    points = _embed(latents)
    nearest = (torch.cdist(points, points) + torch.eye(60) * 1e9).argmin(1)
    assert (labels[nearest] == labels).all()


def test_the_picture_has_a_colour_a_class_and_is_always_the_same(clusters, tmp_path):
    latents, labels = clusters
    for name in ("a", "b"):
        latent_picture(tmp_path / f"{name}.png", latents, labels, labels == 1, ["one", "two", "three"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (800, 600)
    latent_picture(tmp_path / "plain.png", latents)
    assert colours(tmp_path / "a.png") > 3 > colours(tmp_path / "plain.png") == 0


def test_five_points_are_enough_and_many_are_thinned_out(tmp_path, monkeypatch):
    latent_picture(tmp_path / "five.png", torch.randn(5, 2))
    monkeypatch.setattr("flemme_monai.metrics.tsne.MOST_POINTS", 20)
    seen = []
    monkeypatch.setattr("flemme_monai.metrics.tsne._embed", lambda latents: seen.append(latents) or latents[:, :2])
    latents = torch.arange(300.0).reshape(100, 3)
    latent_picture(tmp_path / "many.png", latents)
    assert len(seen[0]) == 20
    assert torch.equal(seen[0][[0, -1]], latents[[0, -1]])


@pytest.mark.parametrize("shape", [(4, 3), (9, 1), (9, 2, 2)])
def test_too_few_points_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="t-SNE needs"):
        latent_picture(tmp_path / "a.png", torch.rand(shape))


def test_labels_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="9 latents, 8 class labels"):
        latent_picture(tmp_path / "a.png", torch.rand(9, 2), torch.zeros(8).long())
    with pytest.raises(ValueError, match="1 class names and a class label 1"):
        latent_picture(tmp_path / "a.png", torch.rand(9, 2), torch.ones(9).long(), class_names=["a"])
