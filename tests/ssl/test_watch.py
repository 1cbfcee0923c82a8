"""What is watched of features while a backbone is pretrained."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, CopyItemsd, RandGaussianNoised
from torch import nn

from flemme_monai.data import CaseDataset, CaseLoader
from flemme_monai.handlers import EpochSeed, History
from flemme_monai.ssl import MaskedImageModel, MaskedLoss, WatchFeatures
from flemme_monai.ssl.watch import crops, main_classes
from flemme_monai.transforms import FirstOutputd
from tests.networks import backbone

VIEWS = Compose([CopyItemsd("image", names="view"), RandGaussianNoised("view", prob=1.0, std=0.5)])


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds."""
    monkeypatch.setattr("flemme_monai.handlers.history.History._draw", lambda self, engine: None)
    monkeypatch.setattr("flemme_monai.ssl.watch.WatchFeatures._draw", lambda self, engine: None)


def dataset(count: int, labels: bool = True, size: tuple[int, ...] = (24, 40)) -> CaseDataset:
    """Images whose left half is dark noise and whose right half is bright stripes."""
    items = []
    for i in range(count):
        generator = torch.Generator().manual_seed(i)
        image = 0.1 * torch.randn(1, *size, generator=generator)
        label = torch.zeros(1, *size, dtype=torch.uint8)
        label[:, :, size[1] // 2 :] = 1
        image[:, ::2] += 2.0 * label[:, ::2]
        items.append({"image": image, **({"label": label} if labels else {})})
    return CaseDataset(items, Compose([]), progress=False)


def watch(network: nn.Module, folder: Path, labels: bool = True, **settings) -> WatchFeatures:
    settings = {"image_size": [16, 16], "max_images": 6, "views": VIEWS, **settings}
    return WatchFeatures(folder, network, dataset(6, labels), dataset(5, labels), **settings)


def run(folder: Path, epochs: int = 2, labels: bool = True, **settings) -> tuple[History, SupervisedTrainer]:
    torch.manual_seed(0)
    network = MaskedImageModel(backbone("UNet", 2))
    history = History(folder)
    small = dataset(4, size=(16, 16))
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=CaseLoader(small, batch_size=2, num_workers=0, generator=torch.Generator()),
        network=network,
        loss_function=MaskedLoss(),
        optimizer=torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-3),
        postprocessing=Compose([FirstOutputd("pred")]),
        # in an order in which the history would miss the numbers, did it not come last
        train_handlers=[history, EpochSeed(0), watch(network, folder, labels, **settings)],
        decollate=True,
    )
    trainer.run()
    return history, trainer


def test_numbers_join_the_rows_of_the_history(tmp_path, monkeypatch):
    monkeypatch.setattr("flemme_monai.ssl.watch.POSITIONS_PER_CLASS", 20)
    history, _ = run(tmp_path)
    names = {"uniformity", "feature_std", "alignment", "knn_recall"}
    assert [names & row.keys() for row in history.rows] == [names, names]
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        assert names <= set(next(csv.reader(file)))
    assert (tmp_path / "curves.png").is_file()
    assert (tmp_path / "features.png").is_file()


@pytest.mark.usefixtures("_no_pictures")
def test_an_interval_leaves_epochs_out(tmp_path):
    history, _ = run(tmp_path, epochs=3, interval=2)
    assert ["uniformity" in row for row in history.rows] == [False, True, False]


@pytest.mark.usefixtures("_no_pictures")
def test_watching_changes_no_training(tmp_path):
    watched = run(tmp_path / "a")[1].network.state_dict()
    other = run(tmp_path / "b", interval=9)[1].network.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in watched.items())


def test_without_labels_the_probe_is_left_out_and_said_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        history, _ = run(tmp_path, epochs=1, labels=False)
    assert "knn_recall is left out: not all images have labels" in caplog.text
    assert "knn_recall" not in history.rows[0]
    assert {"uniformity", "feature_std", "alignment"} <= history.rows[0].keys()
    assert (tmp_path / "features.png").is_file()  # of whole images


@pytest.mark.usefixtures("_no_pictures")
def test_without_views_alignment_is_left_out(tmp_path):
    history, _ = run(tmp_path, epochs=1, views=None)
    assert "alignment" not in history.rows[0]


@pytest.mark.usefixtures("_no_pictures")
def test_the_untrained_network_is_the_yardstick(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run(tmp_path, epochs=1)
    assert caplog.text.count("features before pretraining: uniformity ") == 1


class Given(nn.Module):
    """A network of pretraining whose features are a given function of the image."""

    level = "latent"

    def __init__(self, features) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.encode = lambda image: (features(image), [])


def measured(folder: Path, features, **settings) -> dict[str, float]:
    network = Given(features)
    handler = watch(network, folder, **settings)
    engine = SupervisedTrainer(torch.device("cpu"), 1, [], network, torch.optim.SGD([nn.Parameter()]), nn.L1Loss())
    handler._start(engine)
    return handler.measure("cpu")


def test_collapsed_features_are_told(tmp_path, caplog):
    network = Given(lambda image: torch.ones(len(image), 3, 4, 4))
    handler = watch(network, tmp_path)
    engine = SupervisedTrainer(torch.device("cpu"), 1, [], network, torch.optim.SGD([nn.Parameter()]), nn.L1Loss())
    handler._start(engine)
    engine.state.epoch = 1
    handler._after_epoch(engine)
    assert engine.state.watched["feature_std"] == pytest.approx(0, abs=1e-9)
    assert engine.state.watched["uniformity"] == pytest.approx(0, abs=1e-9)
    assert engine.state.watched["alignment"] == 0  # which says nothing beside the others
    assert "they have collapsed" in caplog.text


def test_the_probe_is_1_for_features_that_are_the_classes_and_a_guess_for_noise(tmp_path):
    pool = nn.AvgPool2d(4)

    def of_classes(image: torch.Tensor) -> torch.Tensor:
        bright = pool(image.abs())
        return torch.cat([bright, torch.ones_like(bright)], 1)

    assert measured(tmp_path, of_classes)["knn_recall"] > 0.95
    noise = torch.Generator().manual_seed(0)
    guess = measured(tmp_path, lambda image: torch.randn(len(image), 8, 4, 4, generator=noise))["knn_recall"]
    assert 0.3 < guess < 0.7


def test_a_rare_class_is_not_outvoted(tmp_path):
    network = Given(lambda image: torch.nn.functional.avg_pool2d(image, 2))
    handler = watch(network, tmp_path, max_images=12)
    engine = SupervisedTrainer(torch.device("cpu"), 1, [], network, torch.optim.SGD([nn.Parameter()]), nn.L1Loss())
    handler._start(engine)
    for item in handler._items["training"]:
        item["label"] = torch.zeros_like(item["label"])
        item["label"][:, :2, :4] = 1
    classes = handler._positions("training", "cpu", even=True)[1]
    assert classes.bincount().tolist() == [24, 24]  # 2 of 64 positions in each of 12 images are of class 1
    assert handler._positions("training", "cpu", even=False)[1].bincount().tolist() == [500, 24]


def test_views_are_the_same_at_every_epoch_and_seeded_apart_from_the_training(tmp_path):
    views = Compose([CopyItemsd("image", names="view"), RandGaussianNoised("view", prob=1.0, std=0.5)])
    views.set_random_state(5)
    handler = watch(MaskedImageModel(backbone("UNet", 2)), tmp_path, views=views)
    before = views.transforms[1].R.get_state()[1].copy()
    engine = SupervisedTrainer(
        torch.device("cpu"), 1, [], handler.network, torch.optim.SGD([nn.Parameter()]), nn.L1Loss()
    )
    handler._start(engine)
    assert handler.measure("cpu") == handler.measure("cpu")
    assert (views.transforms[1].R.get_state()[1] == before).all()


def test_crops_are_the_same_for_a_seed_and_of_image_and_label_alike():
    found = crops(dataset(3), [16, 16], 6, seed=1)
    again = crops(dataset(3), [16, 16], 6, seed=1)
    assert len(found) == 6
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(found, again))
    assert not torch.equal(found[0]["image"], found[3]["image"])  # the same image at another place
    for item in found:
        bright = (item["image"].abs().amax(1) > 1)[0]  # by column
        assert torch.equal(bright, (item["label"] == 1).all(1)[0])


def test_a_volume_in_2d_gives_slices_and_a_small_image_is_padded():
    volume = dataset(2, size=(20, 20, 6))
    assert {tuple(item["image"].shape) for item in crops(volume, [16, 16], 4, 0)} == {(1, 16, 16)}
    assert {tuple(item["label"].shape) for item in crops(volume, [16, 16, 8], 2, 0)} == {(1, 16, 16, 8)}


def test_a_position_has_the_class_that_fills_most_of_it():
    label = torch.zeros(1, 1, 4, 4)
    label[..., :2, 1:] = 2  # 2 of 4 in the first cell, all in the second
    label[..., 2:, :3] = 1  # all of the third, 2 of 4 in the last
    assert main_classes(label, [2, 2]).tolist() == [[[0, 2], [1, 0]]]


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="interval is 0; expected 1 or more epochs"):
        watch(nn.Identity(), tmp_path, interval=0)
    with pytest.raises(ValueError, match="max_images is 1; expected 2 or more"):
        watch(nn.Identity(), tmp_path, max_images=1)
