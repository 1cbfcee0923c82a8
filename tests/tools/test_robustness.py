"""The Dice of trained bundles on corrupted images."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import write_json, write_picture
from monai.bundle import ConfigParser
from PIL import Image

from flemme_monai.commands import robustness
from flemme_monai.commands.robustness_report import CLEAN, Row, summary, table
from flemme_monai.recipes import make_bundle, write

CASES = [f"case_{index}" for index in range(4)]


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Path, Path]:
    """Two bundles with the same random weights, beside a folder of data."""
    settings = {"num_classes": 2, "image_size": [32, 32], "network_def#backbone#patch_channels": 4}
    settings |= {"network_def#backbone#channels": [4, 8], "network_def#backbone#middle_channels": [8]}
    folders = tmp_path / "one", tmp_path / "two"
    write(folders[0], make_bundle("sem_unet", name="one", settings=settings))
    config = json.loads((folders[0] / "configs" / "train.json").read_text(encoding="utf-8"))
    network = ConfigParser(config).get_parsed_content("network_def")
    (folders[0] / "models").mkdir()
    torch.save(network.state_dict(), folders[0] / "models" / "model.pt")
    shutil.copytree(*folders)
    random = np.random.default_rng(0)
    for case in CASES:
        mask = np.zeros((40, 32), np.uint8)
        mask[8:20, 6:24] = 255
        write_picture(
            tmp_path / "data" / "images" / f"{case}.png", mask // 2 + random.integers(0, 99, mask.shape, "u1")
        )
        write_picture(tmp_path / "data" / "masks" / f"{case}.png", mask)
    write_json(tmp_path / "split.json", {"train": CASES[:1], "val": CASES[1:2], "test": CASES[2:]})
    return folders


def run(tmp_path: Path, names: list[Path], *more: str) -> list[dict[str, str]]:
    """Run the command and read its table of cases."""
    words = [*map(str, names), "--dataset_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]
    split = f"split_file={tmp_path / 'split.json'}"
    assert robustness.main([*words, "--set", split, "device=cpu", *more]) == 0
    with (tmp_path / "out" / "robustness.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_bundle_sees_the_same_images(tmp_path: Path, bundles: tuple[Path, Path]) -> None:
    some = ["--corruptions", "screen_photo", "noise", "--strengths", "0.5", "1"]
    rows = run(tmp_path, list(bundles), *some)
    assert len(rows) == 2 * 5 * 2  # bundles, images, test cases
    assert {row["case"] for row in rows} == set(CASES[2:])
    one, two = ([{**row, "bundle": ""} for row in rows if row["bundle"] == name] for name in ("one", "two"))
    assert one == two
    assert len({row["dice"] for row in one}) > 5
    report = (tmp_path / "out" / "robustness.md").read_text(encoding="utf-8")
    assert report.startswith("Mean Dice of 2 test cases.")
    assert report.count("| screen_photo | ") == report.count("| noise | ") == 2
    for name in ("robustness.png", "corruptions.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 100
    written = sorted(path.name for path in (bundles[0]).iterdir())
    assert "output" not in written


def test_clean_images_have_the_dice_of_an_evaluation(tmp_path: Path, bundles: tuple[Path, Path]) -> None:
    rows = run(tmp_path, [bundles[0]], "--corruptions", "blur", "--strengths", "1")
    parser = ConfigParser()
    parser.read_config([str(bundles[0] / "configs" / f"{name}.json") for name in ("train", "evaluate")])
    parser.update({"bundle_root": str(bundles[0]), "dataset_dir": str(tmp_path / "data"), "device": "cpu"})
    parser.update({"split_file": str(tmp_path / "split.json"), "output_dir": str(tmp_path / "evaluate")})
    evaluator = parser.get_parsed_content("validate#evaluator")
    evaluator.run()
    clean = [float(row["dice"]) for row in rows if row["corruption"] == CLEAN]
    assert np.mean(clean) == pytest.approx(evaluator.state.metrics["dice"], abs=1e-5)


def test_bundles_of_other_test_cases_are_refused(
    tmp_path: Path, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = robustness.trained_evaluator

    def fewer(bundle: Path, settings: dict[str, Any]) -> Any:
        evaluator, cases = usual(bundle, settings)
        cases.items = cases.items if bundle.name == "one" else cases.items[:1]
        return evaluator, cases

    monkeypatch.setattr(robustness, "trained_evaluator", fewer)
    with pytest.raises(ValueError, match="two has other test cases than one"):
        run(tmp_path, list(bundles), "--corruptions", "noise", "--strengths", "1")


def test_what_does_not_segment_or_has_no_weights_is_refused(tmp_path: Path, bundles: tuple[Path, Path]) -> None:
    write(tmp_path / "clm", make_bundle("clm_cnn", name="clm"))
    data = ["--dataset_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="clm has no Dice"):
        robustness.main([str(tmp_path / "clm"), *data])
    (bundles[0] / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no \S+model\.pt: train it first"):
        robustness.main([str(bundles[0]), *data])


def test_corruptions_of_pictures_are_left_out_of_volumes(capsys: pytest.CaptureFixture[str]) -> None:
    assert robustness.fitting(["screen_photo", "noise"], 3) == ["noise"]
    assert "left out, for the images are volumes: screen_photo" in capsys.readouterr().out
    assert robustness.fitting(["screen_photo", "noise"], 2) == ["screen_photo", "noise"]
    with pytest.raises(ValueError, match="expected one of volumes"):
        robustness.fitting(["screen_photo"], 3)


def test_the_table_has_means_and_an_interval_over_cases() -> None:
    rows = [Row("a", CLEAN, 0.0, case, dice) for case, dice in (("x", 0.8), ("y", 0.9), ("z", float("nan")))]
    rows += [Row("a", "noise", s, case, dice - s) for s in (0.2, 0.4) for case, dice in (("x", 0.8), ("y", 0.9))]
    means = summary(rows)
    mean, half = means["a", CLEAN, 0.0]
    assert mean == pytest.approx(0.85)
    assert half == pytest.approx(1.96 * 0.05)  # the deviation 0.1 / sqrt(2), of two cases
    assert table(means).splitlines()[2] == "| noise | a | 0.850 | 0.650 | 0.450 | 0.550 |"
