"""An evaluation of a generator compares its samples with real images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from PIL import Image

from flemme_monai.handlers import GenerationReport

HEAD, GAP, TILE = 18, 2, 96
COUNT = 30


class Halves(torch.nn.Module):
    """Class 0 is bright at the start of the first axis, class 1 at its end."""

    def __init__(self, channels=1):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(channels))

    def features(self, x):
        return torch.cat([half.flatten(2).mean(2) * self.scale for half in x.chunk(2, 2)], 1)

    def forward(self, x):
        first, second = self.features(x).chunk(2, 1)
        return torch.cat([first, second], 1)


def images(count, size=(1, 8, 6), labelled=True, seed=0):
    random = torch.Generator().manual_seed(seed)
    items = []
    for i in range(count):
        image = torch.rand(size, generator=random) * 0.5
        image.chunk(2, 1)[i % 2].add_(0.5)
        items.append({"image": image} | ({"class_label": i % 2} if labelled else {}))
    return items


def generate(items, *reports):
    """An evaluation that generates the images of the items."""
    loader = DataLoader(Dataset(items), batch_size=7, num_workers=0)
    evaluator = SupervisedEvaluator("cpu", loader, torch.nn.Identity(), val_handlers=list(reports))
    evaluator.run()
    return evaluator


def read(folder):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["metric"]: row for row in csv.DictReader(file)}


@pytest.fixture
def classifier_path(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"scale": torch.full((1,), 2.0)}, path)
    return path


@pytest.fixture
def make_report(tmp_path, classifier_path):
    def make(**options):
        settings = {
            "output_dir": tmp_path / "out",
            "real": Dataset(images(COUNT, seed=1)),
            "training": Dataset(images(2 * COUNT, seed=2)),
            "classifier": Halves(),
            "classifier_path": classifier_path,
        }
        return GenerationReport(**settings | options)

    return make


def test_the_summary_says_what_is_compared_with_what_in_which_features(make_report, classifier_path, tmp_path):
    evaluator = generate(images(COUNT), make_report())
    rows = read(tmp_path / "out")
    distributions = ["fid", "fid_floor", "kid", "mmd", "precision", "recall", "density", "coverage", "one_nn_accuracy"]
    copying = ["pixel_distance_ratio", "pixel_copies", "feature_distance_ratio", "feature_copies"]
    assert list(rows) == [*distributions, *copying, "class_accuracy"]
    assert {row["n"] for row in rows.values()} == {str(COUNT)}
    assert rows["fid"]["compared_with"] == "30 test images"
    assert rows["pixel_copies"]["compared_with"] == "60 training and 30 test images"
    assert rows["pixel_copies"]["features"] == "pixels"
    named = {row["features"] for name, row in rows.items() if not name.startswith("pixel")}
    assert named == {f"Halves {classifier_path} (not Inception)"}
    assert {name: f"{value:.6g}" for name, value in evaluator.state.metrics.items()} == {
        name: row["value"] for name, row in rows.items()
    }


def test_features_are_of_the_loaded_classifier(make_report):
    classifier = Halves()
    generate(images(COUNT), make_report(classifier=classifier))
    assert classifier.scale.item() == 2


def test_real_images_score_well_and_noise_does_not(make_report):
    good = generate(images(COUNT), make_report()).state.metrics
    noise = [{"image": torch.rand(1, 8, 6), "class_label": 0} for _ in range(COUNT)]
    bad = generate(noise, make_report()).state.metrics
    assert good["class_accuracy"] == 1 > bad["class_accuracy"]
    assert good["fid"] < 0.1 * bad["fid"]
    assert good["kid"] < 0.1 * bad["kid"]
    assert good["precision"] > 0.8 > 0.2 > bad["precision"]
    assert 0.8 < good["pixel_distance_ratio"] < 1.2


def test_the_floor_of_fid_is_that_of_training_images(make_report):
    copies = generate(images(2 * COUNT, seed=2), make_report()).state.metrics
    assert copies["fid"] == copies["fid_floor"]
    others = generate(images(2 * COUNT, seed=3), make_report()).state.metrics
    assert others["fid"] != others["fid_floor"] == copies["fid_floor"]


def test_copies_are_found_and_shown_above_the_image_they_copy(make_report, tmp_path):
    training = images(2 * COUNT, (1, TILE, TILE), seed=2)
    items = images(COUNT, (1, TILE, TILE))
    for i in range(10):
        items[3 + i]["image"] = training[11 + i]["image"]
    report = make_report(training=Dataset(training), real=Dataset(images(COUNT, (1, TILE, TILE), seed=1)))
    metrics = generate(items, report).state.metrics
    assert 10 / COUNT <= metrics["pixel_copies"] < 0.5
    picture = np.asarray(Image.open(tmp_path / "out" / "nearest_neighbours.png"))
    assert picture.shape == (4 * (TILE + HEAD + GAP) - GAP, 10 * (TILE + GAP) - GAP, 3)
    sample, nearest = (picture[top + HEAD :][:TILE, :TILE, 0] for top in (0, TILE + HEAD + GAP))
    assert np.array_equal(sample, nearest)
    assert np.array_equal(sample, np.rint(training[11]["image"][0].numpy().T * 255))


def test_points_are_drawn_in_the_colours_of_their_classes(make_report, tmp_path):
    generate(images(COUNT), make_report(class_names=["left", "right"]))
    picture = np.asarray(Image.open(tmp_path / "out" / "tsne.png").convert("RGB"), int)
    assert picture.shape == (600, 800, 3)
    red, green = (picture[..., i] - picture[..., (i + 1) % 3] for i in (0, 1))
    assert (red > 80).any()
    assert (green > 80).any()


def test_without_classes_there_is_no_accuracy(make_report, tmp_path):
    generate(images(COUNT, labelled=False), make_report(real=Dataset(images(COUNT, labelled=False))))
    assert "class_accuracy" not in read(tmp_path / "out")
    assert (tmp_path / "out" / "tsne.png").is_file()


def test_volumes_are_compared_too(make_report, tmp_path):
    size = (1, 8, 6, 4)
    report = make_report(real=Dataset(images(COUNT, size, seed=1)), training=Dataset(images(COUNT, size, seed=2)))
    assert generate(images(COUNT, size), report).state.metrics["class_accuracy"] == 1
    shape = Image.open(tmp_path / "out" / "nearest_neighbours.png").size
    assert shape == (10 * (8 * 12 + GAP) - GAP, 4 * (6 * 12 + HEAD + GAP) - GAP)


def test_a_second_run_reads_the_real_images_no_more_and_reports_anew(make_report):
    class Counted(Dataset):
        reads = 0

        def __getitem__(self, i):
            Counted.reads += 1
            return super().__getitem__(i)

    report = make_report(real=Counted(images(COUNT, seed=1)))
    first = generate(images(COUNT), report).state.metrics
    assert generate(images(COUNT), report).state.metrics == first
    assert Counted.reads == COUNT


def test_a_classifier_that_is_not_there_or_does_not_fit_ends_the_run_before_it_starts(make_report, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no classifier .*missing\.pt: train one"):
        generate(images(7), make_report(classifier_path=tmp_path / "missing.pt"))
    with pytest.raises(ValueError, match="does not fit the network"):
        generate(images(7), make_report(classifier=Halves(channels=3)))


def test_without_a_classifier_only_pixels_are_compared(make_report, tmp_path, caplog):
    report = make_report(classifier=None, classifier_path=None)
    with caplog.at_level("INFO"):
        metrics = generate(images(COUNT), report).state.metrics
    rows = read(tmp_path / "out")
    assert list(rows) == list(metrics) == ["pixel_distance_ratio", "pixel_copies"]
    assert {row["features"] for row in rows.values()} == {"pixels"}
    assert "no classifier_path is given: FID, KID, MMD, precision and recall are left out" in caplog.text
    assert Image.open(tmp_path / "out" / "tsne.png").size == (800, 600)
    assert Image.open(tmp_path / "out" / "nearest_neighbours.png").size[0] > 0


def test_too_few_images_for_a_tsne_are_reported_without_it(make_report, tmp_path, caplog):
    report = make_report(real=Dataset(images(2, seed=1)), classifier=None, classifier_path=None)
    with caplog.at_level("INFO"):
        generate(images(2), report)
    assert list(read(tmp_path / "out")) == ["pixel_distance_ratio", "pixel_copies"]
    assert not (tmp_path / "out" / "tsne.png").exists()
    assert "tsne.png is left out: 4 images, a t-SNE needs 5" in caplog.text


def test_copies_are_found_without_a_classifier(make_report):
    training = images(2 * COUNT, seed=2)
    items = [{"image": training[i]["image"].clone()} for i in range(COUNT)]
    report = make_report(training=Dataset(training), classifier=None, classifier_path=None)
    metrics = generate(items, report).state.metrics
    assert metrics["pixel_copies"] == 1
    assert metrics["pixel_distance_ratio"] == pytest.approx(0, abs=1e-3)


def test_images_of_another_size_are_refused(make_report):
    with pytest.raises(ValueError, match=r"samples are \(1, 8, 8\), test images \(1, 8, 6\)"):
        generate(images(COUNT, (1, 8, 8)), make_report())
    with pytest.raises(ValueError, match=r"test images are \(1, 8, 6\), \(1, 9, 6\)"):
        generate(images(7), make_report(real=Dataset(images(2) + images(2, (1, 9, 6)))))
    with pytest.raises(ValueError, match="there are no training images"):
        generate(images(7), make_report(training=Dataset([])))


def work(rank: int, folder: str) -> None:
    """One process of two: generates its half of the samples."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", world_size=2, rank=rank)
    real, training = Dataset(images(COUNT, seed=1)), Dataset(images(COUNT, seed=2))
    report = GenerationReport(Path(folder, str(rank)), real, training, Halves(), Path(folder, "model.pt"))
    own = images(COUNT)[:10] if rank == 0 else images(COUNT)[10:]
    evaluator = generate(own, report)
    found = {"metrics": evaluator.state.metrics, "written": Path(folder, str(rank)).exists()}
    Path(folder, f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_report_on_all_samples_once(make_report, classifier_path, tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
    assert second == {"metrics": {}, "written": False}
    alone = generate(images(COUNT), make_report(training=Dataset(images(COUNT, seed=2)))).state.metrics
    assert first["metrics"] == pytest.approx(alone)
