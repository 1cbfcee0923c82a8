"""Settings are varied one at a time, and no training runs twice."""

import csv
from pathlib import Path

import pytest

from flemme_monai.commands import sensitivity
from flemme_monai.commands.sensitivity import Variation, tried, values_around, variations
from flemme_monai.recipes import make_bundle, write

CONFIG = {"learning_rate": 1e-3, "batch_size": 2, "image_size": [64, 96], "accumulation_steps": 1}


def test_usual_values_lie_around_the_bundle_s_own():
    assert values_around(CONFIG) == {
        "accumulation_steps": [2, 4],
        "learning_rate": pytest.approx([1e-4, 3e-4, 3e-3, 1e-2]),
        "batch_size": [1, 4],
        "image_size": [[32, 64], [96, 128]],  # multiples of 32
    }


def test_the_default_comes_first_and_each_training_differs_in_one_setting():
    found = tried(CONFIG, {"batch_size": [4, 8], "image_size": [[32, 32]]})
    assert found == [
        Variation("", None),
        Variation("batch_size", 4),
        Variation("batch_size", 8),
        Variation("image_size", [32, 32]),
    ]
    assert [each.folder for each in found] == ["default", "batch_size=4", "batch_size=8", "image_size=[32,32]"]


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"no setting patch; name some of train\.json"):
        tried(CONFIG, {"patch": [1]})


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("learning_rate=0.1,0.2", ("learning_rate", [0.1, 0.2])),
        ("image_size=[32,32],[64,64]", ("image_size", [[32, 32], [64, 64]])),
        ("norm=batch,instance", ("norm", ["batch", "instance"])),
    ],
)
def test_values_are_words_between_commas(word, expected):
    assert variations(word) == expected


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "sem_unet", make_bundle("sem_unet"))
    return tmp_path / "sem_unet"


def test_a_table_and_a_plot_tell_what_each_value_reached(bundle, tmp_path, monkeypatch, capsys):
    runs = []

    def run(folder, settings, threads):
        runs.append(folder.name)
        if settings.get("batch_size") == 7:
            raise ChildProcessError("out of memory")
        return {"dice": settings.get("learning_rate", 0.5), "iou": 0.25}, 1.0

    monkeypatch.setattr(sensitivity, "train_and_evaluate", run)
    words = [str(bundle), "--output", str(tmp_path / "out"), "--vary", "learning_rate=0.1,0.2", "batch_size=7"]
    assert sensitivity.main(words) == 1
    assert capsys.readouterr().out.endswith("out of memory\n")
    with (tmp_path / "out" / "sensitivity.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["setting"], row["value"], row["dice"]) for row in csv.DictReader(file)]
    assert rows == [("default", "", "0.5"), ("learning_rate", "0.1", "0.1"), ("learning_rate", "0.2", "0.2")]
    assert (tmp_path / "out" / "sensitivity.png").stat().st_size > 1000
    assert sorted(runs) == ["batch_size=7", "default", "learning_rate=0.1", "learning_rate=0.2"]
    runs.clear()
    sensitivity.main(words)
    assert runs == ["batch_size=7"]  # what failed
    with pytest.raises(ValueError, match="was found with other settings"):
        sensitivity.main([*words, "--set", "epochs=3"])


@pytest.mark.slow
def test_a_bundle_trains_with_each_value(bundle, tmp_path):
    settings = ["image_size=[32,32]", "batch_size=16", "epochs=1"]
    words = [str(bundle), "--output", str(tmp_path / "out"), "--set", *settings, "--vary", "learning_rate=0.01"]
    assert sensitivity.main(words) == 0
    with (tmp_path / "out" / "sensitivity.csv").open(newline="", encoding="utf-8") as file:
        assert all(0 <= float(row["dice"]) <= 1 for row in csv.DictReader(file))
