"""A comparison gives every bundle the same budget and never runs one twice."""

import csv
import json
from pathlib import Path

import pytest

from flemme_monai.commands import compare as compare_bundles
from flemme_monai.commands import train_runs
from flemme_monai.commands.matched import matched_settings, scaled
from flemme_monai.commands.train_runs import summary

SIZE = ["image_size=[32,32]", "batch_size=16"]


def test_widths_are_scaled_in_fours() -> None:
    assert scaled([32, 64], 0.3) == [8, 20]
    assert scaled(32, 0.01) == 4


@pytest.mark.parametrize("pair", ["sem_unet", "hsem_swind", "ae_vit", "hae_vmamba"])
def test_every_network_gets_the_same_number_of_parameters(pair: str) -> None:
    settings, factor, parameters = matched_settings(pair, {}, 300_000)
    assert parameters == pytest.approx(300_000, rel=0.075)
    names = ("patch_channels", "channels", "middle_channels")
    assert settings.keys() - {"network_def#backbone#final_channels"} == {f"network_def#backbone#{n}" for n in names}
    assert factor != 1


def test_a_network_that_has_fewer_parameters_stays_as_published() -> None:
    assert matched_settings("sem_classicunet", {}, 20_000_000, at_most=True) == ({}, 1.0, 17_262_020)
    settings, factor, parameters = matched_settings("sem_classicunet", {}, 300_000, at_most=True)
    assert settings["network_def#backbone#channels"] == scaled([64, 128, 256, 512], factor)
    assert parameters == pytest.approx(300_000, rel=0.075)


def test_settings_may_be_for_some_bundles_only(tmp_path: Path) -> None:
    parser_args = [
        "--set",
        "num_classes=2",
        "--pair_set",
        "*_vit*:network_def#backbone#family#spatial_reduction=[4,2,1]",
    ]
    seen = {}

    def remember(budgets, output, jobs):
        seen.update({pair: budget["settings"] for pair, budget in budgets.items()})
        return [{"bundle": pair, "parameters": 1, "dice": 0.5, "step ms": 1.0} for pair in budgets], []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_bundles, "compare_pairs", remember)
        patch.setattr(compare_bundles, "matched_settings", lambda pair, settings, *args: (settings, 1.0, 1))
        compare_bundles.main(["--output", str(tmp_path), "--encoders", "cnn", "vitu", *parser_args])
    shared = {"num_classes": 2, "epochs": 20, "seed": 0}
    assert seen["sem_cnn"] == shared
    assert seen["hsem_vitu"] == {**shared, "network_def#backbone#family#spatial_reduction": [4, 2, 1]}


def test_the_summary_of_every_task_is_read() -> None:
    cases = ["metric,class,mean,std", "dice,organ_1,0.5,0.1", "dice,mean,0.75,0.1"]
    classes = ["metric,class,value,n", "accuracy,all,0.9,4", "f1,organ_1,0.5,2", "f1,mean,0.8,4"]
    assert summary(cases) == {"dice": 0.75}
    assert summary(["metric,class,mean,std", "dice,nucleus,0.5,0.1", "bce,nucleus,,"]) == {"dice": 0.5}
    assert summary(classes) == {"accuracy": 0.9, "f1": 0.8}


@pytest.mark.parametrize(
    ("architectures", "message"),
    [
        (["sem", "clm"], "sem is for segmentation, clm is for classification: name architectures of one task"),
        (["edm"], "edm is for generation: name architectures of one task, which is segmentation or"),
    ],
)
def test_what_does_not_compare_is_refused(architectures, message, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare_bundles.main(["--output", str(tmp_path), "--architectures", *architectures])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_classifiers_compare_by_accuracy(tmp_path: Path) -> None:
    command = ["--output", str(tmp_path), "--epochs", "1", "--parameters", "60000", "--architectures", "clm"]
    assert compare_bundles.main([*command, "--encoders", "cnn", "--set", *SIZE]) == 0
    with (tmp_path / "comparison.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["accuracy"]) <= 1
    assert 0 <= float(row["f1"]) <= 1


@pytest.mark.slow
def test_a_comparison_trains_evaluates_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch) -> None:
    command = ["--output", str(tmp_path), "--epochs", "1", "--parameters", "60000", "--architectures", "sem"]
    command += ["--set", *SIZE, "--encoders"]
    assert compare_bundles.main([*command, "unet"]) == 0
    row = json.loads((tmp_path / "sem_unet" / "result.json").read_text())["row"]
    row |= json.loads((tmp_path / "sem_unet" / "cost.json").read_text())
    assert 0 <= row["iou"] <= row["dice"] <= 1
    assert row["seconds an epoch"] > 0
    assert row["step MiB"] > 1
    assert row["surface_distance"] >= 0
    assert row["GFLOP"] > 0
    assert row["step ms"] > row["inference ms"] > 0
    monkeypatch.setattr(train_runs, "run", lambda *args: pytest.fail("it ran again"))
    assert compare_bundles.main([*command, "unet"]) == 0
    with (tmp_path / "comparison.csv").open(newline="") as file:
        assert [r["bundle"] for r in csv.DictReader(file)] == ["sem_unet"]
    assert (tmp_path / "comparison.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="was found with other settings"):
        compare_bundles.main([*command, "unet", "--seed", "1"])


@pytest.mark.parametrize("stopped", ["before its first epoch ended", "later"])
def test_a_training_that_was_stopped_goes_on(stopped, tmp_path: Path, monkeypatch) -> None:
    for name in ("models/half.tmp", "train/metrics.csv", "evaluate/summary.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    if stopped == "later":
        (tmp_path / "models" / "last.pt").touch()
    seen = []

    def run(configs, settings, log, threads):
        seen.append((settings.get("resume"), sorted(path.name for path in tmp_path.iterdir())))
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / "metrics.csv").write_text("epoch,seconds\n1,2\n")
        (tmp_path / "evaluate").mkdir(exist_ok=True)
        (tmp_path / "evaluate" / "summary.csv").write_text("metric,class,mean,std\ndice,mean,0.5,0\n")

    monkeypatch.setattr(train_runs, "run", run)
    assert train_runs.train_and_evaluate(tmp_path, {}) == ({"dice": 0.5}, 2.0)
    assert seen[0] == ((True, ["models", "train"]) if stopped == "later" else (False, []))


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    def train(pair, budget, folder, threads):
        if pair == "sem_cnn":
            raise ChildProcessError("the training of sem_cnn failed")
        (folder / "models").mkdir(parents=True)
        return {"bundle": pair, "parameters": 1, "dice": 0.5}

    monkeypatch.setattr(compare_bundles, "compare_pair", train)
    command = ["--output", str(tmp_path), "--encoders", "cnn", "unet", "--architectures", "sem", "--jobs", "2"]
    assert compare_bundles.main([*command, "--parameters", "60000", "--set", *SIZE]) == 1
    assert capsys.readouterr().out.endswith("the training of sem_cnn failed\n")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        assert [row["bundle"] for row in csv.DictReader(file)] == ["sem_unet"]


def test_a_run_that_fails_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match=r"failed: see .*train.log"):
        train_runs.run([tmp_path / "none.json"], {}, tmp_path / "train.log")
