"""Latents as a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from flemme_monai.io import write_figure
from flemme_monai.visualize import plot_tsne
from flemme_monai.visualize.tsne import _embed


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
        figure = plot_tsne(latents, labels, labels == 1, ["one", "two", "three"])
        write_figure(tmp_path / f"{name}.png", figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (800, 600)
    write_figure(tmp_path / "plain.png", plot_tsne(latents))
    assert colours(tmp_path / "a.png") > 3 > colours(tmp_path / "plain.png") == 0


def test_five_points_are_enough_and_many_are_thinned_out(monkeypatch):
    plot_tsne(torch.randn(5, 2))
    monkeypatch.setattr("flemme_monai.visualize.tsne.MOST_POINTS", 20)
    seen = []
    monkeypatch.setattr(
        "flemme_monai.visualize.tsne._embed", lambda latents, dims: seen.append(latents) or latents[:, :2]
    )
    latents = torch.arange(300.0).reshape(100, 3)
    plot_tsne(latents)
    assert len(seen[0]) == 20
    assert torch.equal(seen[0][[0, -1]], latents[[0, -1]])


@pytest.mark.parametrize("shape", [(4, 3), (9, 1), (9, 2, 2)])
def test_too_few_points_are_refused(shape):
    with pytest.raises(ValueError, match="t-SNE needs"):
        plot_tsne(torch.rand(shape))


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="9 latents, 8 class labels"):
        plot_tsne(torch.rand(9, 2), torch.zeros(8).long())
    with pytest.raises(ValueError, match="1 class names and a class label 1"):
        plot_tsne(torch.rand(9, 2), torch.ones(9).long(), class_names=["a"])


def test_points_may_lie_in_space(clusters, tmp_path):
    write_figure(tmp_path / "space.png", plot_tsne(*clusters, dims=3))
    assert colours(tmp_path / "space.png") >= 3
    with pytest.raises(ValueError, match="expected 2 or 3"):
        plot_tsne(*clusters, dims=4)
