"""``flemme-monai train-folds`` and ``ensemble``."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_files import write_nifti

from flemme_monai.commands import ensemble, train_folds
from flemme_monai.commands.largest_part import Comparison, compare_largest
from flemme_monai.recipes import make_bundle, write

SMALL = {
    "spatial_dims": 3,
    "num_classes": 3,
    "image_size": [8, 8, 8],
    "network_def#backbone#channels": [8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "augmentation#elastic": 0.0,
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "sem_unet", make_bundle("sem_unet", settings=SMALL))
    return tmp_path / "sem_unet"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six volumes of a box of class 1 with a box of class 2 beside it."""
    for index in range(6):
        image = np.random.default_rng(index).normal(size=(12, 10, 9)).astype(np.float32)
        label = np.zeros(image.shape, np.uint8)
        label[2:6, 2:8, 2:7] = 1
        label[6:9, 2:8, 2:7] = 2
        write_nifti(tmp_path / "data" / "images" / f"case{index}.nii.gz", image + label)
        write_nifti(tmp_path / "data" / "labels" / f"case{index}.nii.gz", label)
    return tmp_path / "data"


def comparison(plain, largest) -> Comparison:
    cases = [str(index) for index in range(len(plain))]
    classes = list(range(1, len(plain[0]) + 1))
    return Comparison(cases, classes, [f"class {n}" for n in classes], np.array(plain), np.array(largest))


def test_a_class_is_cleaned_where_the_mean_rises_and_no_more_cases_lose_than_gain():
    plain = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, np.nan]]
    largest = [[0.6, 0.4, 0.9, 0.5], [0.5, 0.6, 0.4, 0.6], [0.5, 0.4, 0.4, np.nan]]
    assert comparison(plain, largest).helped == [1, 4]
    assert comparison(plain, plain).helped == []
    means = comparison(plain, largest).means
    assert means[0].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert means[1][3] == pytest.approx(0.55)


def test_comparisons_of_folds_are_one_of_all_cases():
    whole = Comparison.of([comparison([[0.1, 0.2]], [[0.3, 0.4]]), comparison([[0.5, 0.6]], [[0.7, 0.8]])])
    assert len(whole.cases) == 2
    assert whole.largest.tolist() == [[0.3, 0.4], [0.7, 0.8]]


def fold(folder: Path, number: int, val: list[str], test: list[str], cases: list[str]) -> Path:
    """A fold's folder with its split."""
    models = folder / str(number) / "models"
    models.mkdir(parents=True)
    split = {"train": [case for case in cases if case not in (*val, *test)], "val": val, "test": test}
    record = {"settings": {}, **split, "fingerprints": dict.fromkeys(cases, "x")}
    (models / "split.json").write_text(json.dumps(record), encoding="utf-8")
    return models.parent


def test_what_is_held_out_once_are_the_tests_or_else_the_validations(tmp_path: Path):
    cases = ["a", "b", "c"]
    folds = [fold(tmp_path / "own", k, [cases[(k + 1) % 3]], [cases[k]], cases) for k in range(3)]
    assert ensemble.held_out(folds) == "test"
    named = [fold(tmp_path / "named", k, [cases[k]], ["t"], [*cases, "t"]) for k in range(3)]
    assert ensemble.held_out(named) == "val"
    with pytest.raises(ValueError, match=r"no part of the folds' split\.json holds each case once"):
        ensemble.held_out([named[0], named[0]])
    shutil.rmtree(folds[0] / "models")
    with pytest.raises(ValueError, match="holds each case once"):
        ensemble.held_out(folds)


def test_what_was_found_is_written_into_the_configs_and_the_page(bundle: Path):
    before = {
        name: json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("inference", "evaluate")
    }
    ensemble.write_settings(bundle, 3, [2], [0, 1], tests=False)
    after = {name: json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8")) for name in before}
    expected = {"keep_largest": [2], "mirror": [0, 1]}
    folds = {"ckpt_dir": "$flemme_monai.utils.path_in(@bundle_root, 'folds_of_3/*/models')"}
    assert after["inference"] == before["inference"] | expected | folds
    assert after["evaluate"] == before["evaluate"] | expected
    ensemble.write_settings(bundle, 3, [], [], tests=True)
    assert (
        json.loads((bundle / "configs" / "evaluate.json").read_text(encoding="utf-8"))["ckpt_dir"] == folds["ckpt_dir"]
    )
    page = bundle / "docs" / "README.md"
    text = page.read_text(encoding="utf-8")
    found = comparison([[0.5, 0.5]], [[0.6, 0.4]])
    for _ in range(2):
        ensemble.write_section(page, ensemble.section(found, [0]))
    assert page.read_text(encoding="utf-8") == f"{text.rstrip()}\n\n{ensemble.section(found, [0])}"
    assert "| 1 class 1 | 0.5 | 0.6 | largest part alone |" in page.read_text(encoding="utf-8")
    assert "| 2 class 2 | 0.5 | 0.4 | all parts |" in page.read_text(encoding="utf-8")


def test_predictions_are_measured_with_and_without_their_smaller_parts(bundle: Path, data: Path, tmp_path: Path):
    """Half of the predictions have a stray part of class 1, and class 2 is in two parts in the label too."""
    models = fold(tmp_path / "folds", 0, ["case1"], ["case2", "case3"], [f"case{k}" for k in range(6)]) / "models"
    (tmp_path / "pred").mkdir()
    for name in ("case2", "case3"):
        label = nibabel.load(data / "labels" / f"{name}.nii.gz")
        array = np.asarray(label.dataobj).copy()
        array[11, 9, 8] = 1
        write_nifti(tmp_path / "pred" / f"{name}_seg.nii.gz", array, label.affine)
    shutil.rmtree(models)
    settings = {"dataset_dir": str(data), "ckpt_dir": str(models), "fold": 0, "num_folds": 3}
    split = {"train": ["case0", "case4", "case5"], "val": ["case1"], "test": ["case2", "case3"]}
    (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    settings |= {"split_file": str(tmp_path / "split.json"), "fold": None}
    found = compare_largest(bundle, settings, "test", tmp_path / "pred")
    assert found.cases == ["case2", "case3"]
    assert found.largest.tolist() == [[1, 1], [1, 1]]
    assert (found.plain[:, 0] < 1).all()
    assert (found.plain[:, 1] == 1).all()
    assert found.helped == [1]


def test_folds_are_run_once_and_named_when_they_fail(bundle: Path, monkeypatch, capsys):
    runs = []

    def run(folder, settings, threads):
        runs.append(settings["fold"])
        if len(runs) == 2:
            raise ChildProcessError("fold 1 failed")
        return {"dice": 0.5 + settings["fold"]}, 1.0

    monkeypatch.setattr(train_folds, "train_and_evaluate", run)
    command = ["--bundle", str(bundle), "--num_folds", "3", "--set", "epochs=1"]
    assert train_folds.main(command) == 1
    assert "fold 1 failed" in capsys.readouterr().out
    assert train_folds.main(command) == 0
    assert runs == [0, 1, 2, 1]
    with (bundle / "folds_of_3" / "folds.csv").open(encoding="utf-8") as file:
        rows = {row["fold"]: row["dice"] for row in csv.DictReader(file)}
    assert rows == {"0": "0.5", "1": "1.5", "2": "2.5", "mean": "1.5", "deviation": str(np.std([0.5, 1.5, 2.5]))}
    with pytest.raises(ValueError, match="is of other settings or configs"):
        train_folds.main([*command[:-1], "epochs=2"])
    with pytest.raises(ValueError, match="num_folds is 2"):
        train_folds.main(["--bundle", str(bundle), "--num_folds", "2"])


def test_an_ensemble_needs_all_folds(bundle: Path):
    with pytest.raises(FileNotFoundError, match="folds 0, 1, 2 are not trained"):
        ensemble.main(["--bundle", str(bundle), "--num_folds", "3", "--dataset_dir", "x"])


@pytest.mark.slow
def test_folds_become_one_predictor(bundle: Path, data: Path, tmp_path: Path):
    command = ["--bundle", str(bundle), "--num_folds", "3", "--dataset_dir", str(data)]
    assert train_folds.main([*command, "--set", "epochs=1", "batch_size=2", "num_workers=0"]) == 0
    assert ensemble.main([*command, "--mirror", "[0]"]) == 0
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    assert config["mirror"] == [0]
    with (bundle / "folds_of_3" / "largest_part.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["case"] for row in rows}) == [f"case{k}" for k in range(6)]
    for k in range(3):
        split = json.loads((bundle / "folds_of_3" / str(k) / "models" / "split.json").read_text(encoding="utf-8"))
        files = sorted(path.name for path in (bundle / "folds_of_3" / str(k) / "predictions").glob("*_seg.nii.gz"))
        assert files == [f"{case}_seg.nii.gz" for case in sorted(split["test"])]
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(data / "images"),
        output_dir=str(tmp_path / "out"),
    )
    workflow.initialize()
    assert len(workflow.parser.get_parsed_content("network").networks) == 3
    workflow.run()
    assert len(list((tmp_path / "out").glob("*_seg.nii.gz"))) == 6
