"""Latents as a picture, and ways as a row and an animation."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from PIL import Image
from torch import nn

from flemme_monai.handlers import SaveInterpolation, SaveLatentTSNE
from flemme_monai.visualize.grids import END_MS, STEP_MS


def evaluate(handler, items, batch_size=4):
    loader = DataLoader(Dataset(items), batch_size=batch_size, num_workers=0)
    SupervisedEvaluator("cpu", loader, nn.Identity(), val_handlers=[handler]).run()


class Means(nn.Module):
    """An autoencoder whose latents are the image's values; notes what it is asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = []

    def encode(self, images, context):
        self.seen.append((self.training, None if context is None else context.tolist()))
        return images * self.weight, images


@pytest.fixture
def drawn(monkeypatch):
    found = {}

    def plot(latents, classes, class_names, dims):
        found.update(dims=dims, latents=latents, classes=classes, class_names=class_names)
        return "figure"

    monkeypatch.setattr("flemme_monai.handlers.generation.plot_tsne", plot)
    monkeypatch.setattr("flemme_monai.handlers.generation.write_figure", lambda path, figure: found.update(path=path))
    return found


def items(count, **more):
    return [{"image": torch.full((1, 4, 4), float(i)), **{key: i % n for key, n in more.items()}} for i in range(count)]


def test_the_means_of_all_images_are_shown_with_their_classes(drawn, tmp_path):
    autoencoder = Means().train()
    handler = SaveLatentTSNE(tmp_path / "out", items(40, class_label=3), autoencoder, "class_label", ["a", "b", "c"])
    evaluate(handler, items(2))
    assert drawn["path"] == tmp_path / "out" / "latents.png"
    assert drawn["latents"][:, 0].tolist() == list(range(40))
    assert drawn["classes"].tolist() == [i % 3 for i in range(40)]
    assert drawn["class_names"] == ["a", "b", "c"]
    assert autoencoder.seen[0] == (False, [i % 3 for i in range(32)])
    assert autoencoder.training


def test_names_of_classes_are_those_that_the_images_know(drawn, tmp_path):
    named = [item | {"class_name": "hand" if item["class_label"] else "head"} for item in items(6, class_label=2)]
    evaluate(SaveLatentTSNE(tmp_path, named, Means()), items(2))
    assert drawn["class_names"] == ["head", "hand"]


def test_without_classes_there_are_none(drawn, tmp_path):
    autoencoder = Means()
    evaluate(SaveLatentTSNE(tmp_path, items(6), autoencoder), items(2))
    assert drawn["classes"].tolist() == [-1] * 6
    assert autoencoder.seen == [(False, None)]


def test_too_few_images_make_no_picture(tmp_path, caplog):
    caplog.set_level(logging.INFO, "flemme_monai")
    evaluate(SaveLatentTSNE(tmp_path, items(4), Means()), items(2))
    assert list(tmp_path.iterdir()) == []
    assert "latents.png is left out: 4 images, a t-SNE needs 5" in caplog.text


def test_a_way_is_one_row_and_goes_there_and_back(tmp_path):
    way = [{"image": torch.full((1, 96, 96), i / 4), "class_label": 2} for i in range(5)]
    evaluate(SaveInterpolation(tmp_path, class_names=["hand", "head", "chest"]), way, batch_size=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"sample_00{i}_class2.png" for i in range(5)), "way.gif", "way.png"]
    row = np.asarray(Image.open(tmp_path / "way.png"))[-1, ::98, 0]
    assert row.tolist() == [0, 64, 128, 191, 255]
    with Image.open(tmp_path / "way.gif") as animation:
        levels, shown = [], []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            levels.append(np.asarray(animation.convert("L"))[0, 0].item())
            shown.append(animation.info["duration"])
    assert levels == [0, 64, 128, 191, 255, 191, 128, 64]
    assert shown == [END_MS, *[STEP_MS] * 3, END_MS, *[STEP_MS] * 3]


def test_a_way_of_two_points_and_of_colours_is_written(tmp_path):
    colours = [{"image": torch.rand(3, 96, 96)} for _ in range(2)]
    evaluate(SaveInterpolation(tmp_path), colours)
    assert Image.open(tmp_path / "way.png").size == (2 * 96 + 2, 96)
    with Image.open(tmp_path / "way.gif") as animation:
        assert animation.n_frames == 2
        assert np.ptp(np.asarray(animation.convert("RGB")), axis=-1).any()


def test_latents_are_kept_and_clustered_where_every_image_has_a_class(drawn, tmp_path):
    known = [{**item, "case": f"c{i}"} for i, item in enumerate(items(40, class_label=2))]
    for item in known:
        item["image"] = item["image"] * 0 + item["class_label"]  # a cluster per class
    evaluate(SaveLatentTSNE(tmp_path, known, Means(), dims=3, save=True), items(2))
    assert drawn["dims"] == 3
    with np.load(tmp_path / "latents.npz") as kept:  # which refuses pickles
        assert kept["latents"].shape == (40, 16)
        assert kept["cases"].tolist() == [f"c{i}" for i in range(40)]
        assert kept["classes"].tolist() == [0, 1] * 20
    assert "accuracy,1,40" in (tmp_path / "clusters.csv").read_text(encoding="utf-8")
    evaluate(SaveLatentTSNE(tmp_path / "none", items(40), Means()), items(2))
    assert not list((tmp_path / "none").glob("*.csv")) + list((tmp_path / "none").glob("*.npz"))
