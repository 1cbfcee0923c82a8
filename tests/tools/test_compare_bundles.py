"""A comparison gives every bundle the same budget and never runs one twice."""

import csv
import json
from pathlib import Path

import pytest

from flemme_monai.commands import compare as compare_bundles
from flemme_monai.commands import train_runs
from flemme_monai.commands.load import Load
from flemme_monai.commands.matched import Match, built_network, matched_settings, scaled, training_config
from flemme_monai.commands.measure import count_parameters
from flemme_monai.commands.train_runs import summary
from flemme_monai.comparison import launchers, runs
from flemme_monai.comparison.entries import entries
from flemme_monai.comparison.plan import Run
from flemme_monai.recipes import make_bundle, write

SIZE = ["image_size=[32,32]", "batch_size=16"]


def test_widths_are_scaled_in_fours() -> None:
    assert scaled([32, 64], 0.3) == [8, 20]
    assert scaled(32, 0.01) == 4


@pytest.mark.parametrize("pair", ["sem_unet", "hsem_swind", "ae_vit", "hae_vmamba"])
def test_every_network_gets_the_same_number_of_parameters(pair: str) -> None:
    settings, factor, parameters = matched_settings(pair, {}, Match("parameters", 300_000))
    assert parameters == pytest.approx(300_000, rel=0.075)
    names = ("patch_channels", "channels", "middle_channels")
    assert settings.keys() - {"network_def#backbone#final_channels"} == {f"network_def#backbone#{n}" for n in names}
    assert factor != 1


def test_a_network_that_has_fewer_parameters_stays_as_published() -> None:
    match = Match("parameters", 20_000_000, at_most=True)
    assert matched_settings("sem_classicunet", {}, match) == ({}, 1.0, 17_262_020)
    settings, factor, parameters = matched_settings("sem_classicunet", {}, Match("parameters", 300_000, at_most=True))
    assert settings["network_def#backbone#channels"] == scaled([64, 128, 256, 512], factor)
    assert parameters == pytest.approx(300_000, rel=0.075)


def test_channels_give_a_number_of_operations_too() -> None:
    settings, _, _ = matched_settings("sem_unet", {}, Match("flops", 0.05))
    config = training_config("sem_unet", settings)
    assert Load.of(built_network(config), config).gflop() == pytest.approx(0.05, rel=0.075)


def test_channels_give_a_time_of_a_step_too(monkeypatch) -> None:
    monkeypatch.setattr(Load, "step_milliseconds", lambda load: count_parameters(load.network) / 1e4)
    _, _, parameters = matched_settings("sem_unet", {}, Match("step_time", 30.0))
    assert parameters == pytest.approx(300_000, rel=0.15)
    with pytest.raises(ValueError, match="cannot be scaled to 1e-05 ms"):
        matched_settings("sem_unet", {}, Match("step_time", 1e-5))


def test_a_bundle_in_a_folder_may_be_matched_and_has_its_own_settings(tmp_path: Path) -> None:
    write(tmp_path, make_bundle("sem_unet", settings={"network_def#backbone#channels": [8, 16]}))
    assert matched_settings(str(tmp_path), {"epochs": 3}, None)[:2] == ({"epochs": 3}, 1.0)
    config = training_config(str(tmp_path), {"epochs": 3, "network_def#fusion": "add"})
    assert (config["epochs"], config["network_def"]["backbone"]["channels"]) == (3, [8, 16])
    assert config["network_def"]["fusion"] == "add"
    with pytest.raises(ValueError, match=r"has no setting epoch; expected some of train\.json"):
        training_config(str(tmp_path), {"epoch": 3})


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
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["accuracy"]) <= 1
    assert 0 <= float(row["f1"]) <= 1


@pytest.mark.slow
def test_a_comparison_trains_evaluates_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch) -> None:
    command = ["--output", str(tmp_path), "--epochs", "1", "--parameters", "60000", "--architectures", "sem", "hsem"]
    command += ["--set", *SIZE, "--encoders"]
    assert compare_bundles.main([*command, "unet"]) == 0
    content = json.loads((tmp_path / "sem_unet" / "seed_0" / "result.json").read_text(encoding="utf-8"))
    row = content["row"] | json.loads((tmp_path / "sem_unet" / "cost.json").read_text(encoding="utf-8"))
    assert 0 <= row["iou"] <= row["dice"] <= 1
    assert row["seconds an epoch"] > 0
    assert row["step MiB"] > 1
    assert row["surface_distance"] >= 0
    assert row["GFLOP"] > 0
    assert row["step ms"] > row["inference ms"] > 0
    assert content["environment"]["versions"]["flemme_monai"]
    assert len(content["split"]["train"]) > len(content["split"]["test"]) > 0
    monkeypatch.setattr(train_runs, "run", lambda *args: pytest.fail("it ran again"))
    assert compare_bundles.main([*command, "unet"]) == 0
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        assert [r["bundle"] for r in csv.DictReader(file)] == ["sem_unet", "hsem_unet"]
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        assert {r["case"] for r in csv.DictReader(file)} == set(content["split"]["test"])
    for name in ("comparison", "differences", "curves", "cases", "panel"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="was found with other settings"):
        compare_bundles.main([*command, "unet", "--epochs", "2"])


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
        (tmp_path / "train" / "metrics.csv").write_text("epoch,seconds\n1,2\n", encoding="utf-8")
        (tmp_path / "evaluate").mkdir(exist_ok=True)
        (tmp_path / "evaluate" / "summary.csv").write_text("metric,class,mean,std\ndice,mean,0.5,0\n", encoding="utf-8")

    monkeypatch.setattr(train_runs, "run", run)
    assert train_runs.train_and_evaluate(tmp_path, {}) == ({"dice": 0.5}, 2.0)
    assert seen[0] == ((True, ["models", "train"]) if stopped == "later" else (False, []))


def finished(run, threads=None):
    """What a run leaves, without a training."""
    if run.entry.name == "sem_cnn":
        raise ChildProcessError("the training of sem_cnn failed")
    dice = 0.5 + 0.1 * run.seed
    row = {"bundle": run.entry.name, "channels": "x 1", "parameters": 1, "dice": dice, "seconds an epoch": 1.0}
    content = {"budget": run.budget, "row": row}
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    return content


@pytest.fixture
def untrained(monkeypatch) -> None:
    """Runs take no time, and costs are not measured."""
    monkeypatch.setattr(launchers, "run", finished)
    cost = {"GFLOP": 1.0, "step ms": 2.0, "inference ms": 1.0, "step MiB": 3.0}
    monkeypatch.setattr(compare_bundles, "measured_costs", lambda networks: dict.fromkeys(networks, cost))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "comparison.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path, untrained, capsys) -> None:
    command = ["--output", str(tmp_path), "--encoders", "cnn", "unet", "--architectures", "sem", "--jobs", "2"]
    assert compare_bundles.main([*command, "--match", "none"]) == 1
    assert capsys.readouterr().out.endswith("the training of sem_cnn failed\n")
    assert [row["bundle"] for row in rows(tmp_path)] == ["sem_unet"]
    assert "the training of sem_cnn failed" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_every_bundle_runs_with_every_seed_and_is_not_run_again(tmp_path: Path, untrained, monkeypatch, capsys) -> None:
    command = ["sem_unet", "hsem_unet", "--output", str(tmp_path), "--match", "none", "--seeds"]
    assert compare_bundles.main([*command, "0", "1"]) == 0
    seeds = {path.parent.name for path in tmp_path.glob("sem_unet/*/result.json")}
    assert seeds == {"seed_0", "seed_1"}
    assert [(row["dice"], row["seeds"]) for row in rows(tmp_path)] == [("0.55", "2"), ("0.55", "2")]
    ran = []
    monkeypatch.setattr(launchers, "run", lambda run, threads=None: ran.append(run.title) or finished(run))
    assert compare_bundles.main([*command, "0", "1", "2"]) == 0
    assert sorted(ran) == ["hsem_unet seed 2", "sem_unet seed 2"]
    assert "4 of 6 runs are finished" in capsys.readouterr().out
    assert rows(tmp_path)[0]["dice deviation"] == "0.1"


def test_a_result_of_one_seed_of_an_earlier_comparison_is_read(tmp_path: Path, untrained, monkeypatch) -> None:
    command = ["sem_unet", "--output", str(tmp_path), "--match", "none", "--epochs", "3"]
    assert compare_bundles.main(command) == 0
    folder = tmp_path / "sem_unet"
    (folder / "seed_0" / "result.json").rename(folder / "result.json")
    monkeypatch.setattr(launchers, "run", lambda run, threads=None: pytest.fail("it ran again"))
    assert compare_bundles.main(command) == 0
    monkeypatch.setattr(launchers, "run", finished)
    assert compare_bundles.main([*command, "--seeds", "0", "1"]) == 0
    assert rows(tmp_path)[0]["seeds"] == "2"
    with pytest.raises(ValueError, match="was found with other settings"):
        compare_bundles.main([*command, "--epochs", "4"])


def test_tables_are_made_of_what_is_finished(tmp_path: Path, untrained, monkeypatch, capsys) -> None:
    command = ["sem_unet", "hsem_unet", "--output", str(tmp_path), "--match", "none"]
    assert compare_bundles.main([*command, "--finished"]) == 1
    assert "no run is finished" in capsys.readouterr().out
    compare_bundles.main(command[:1] + command[2:])
    monkeypatch.setattr(launchers, "run", lambda run, threads=None: pytest.fail("it ran"))
    assert compare_bundles.main([*command, "--finished"]) == 0
    assert [row["bundle"] for row in rows(tmp_path)] == ["sem_unet"]
    assert json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))["runs"] == [1, 2]


def test_a_command_needs_the_target_that_it_matches(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare_bundles.main(["sem_unet", "--output", str(tmp_path), "--match", "flops"])
    assert "--match flops has no target; expected --gflop too" in capsys.readouterr().err


def test_a_run_that_fails_is_named_with_its_last_words(tmp_path: Path, monkeypatch) -> None:
    def train_and_evaluate(folder, settings, threads, overlays):
        (folder / "train.log").write_text("epoch 1\nValueError: no images\n\n", encoding="utf-8")
        raise ChildProcessError("a command failed")

    monkeypatch.setattr(runs, "train_and_evaluate", train_and_evaluate)
    todo = Run(entries(["sem_unet"], (), None)[0], "", None, 0, {"settings": {}}, tmp_path / "seed_0")
    with pytest.raises(
        ChildProcessError, match=r"^sem_unet seed 0 failed: ValueError: no images \(see .*train\.log\)$"
    ):
        runs.run(todo)
    assert todo.found() is None


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_evaluation_keeps_cases_to_be_drawn_but_of_masks_that_overlap(
    multi_label, tmp_path: Path, monkeypatch
) -> None:
    seen = {}

    def train_and_evaluate(folder, settings, threads, overlays):
        seen.update(overlays=overlays)
        return {"dice": 0.5}, 1.0

    monkeypatch.setattr(runs, "train_and_evaluate", train_and_evaluate)
    entry = entries(["sem_unet"], (), None)[0]
    budget = {"settings": {"multi_label": multi_label}, "factor": 1.0, "parameters": 1}
    content = runs.run(Run(entry, "", None, 0, budget, tmp_path / "seed_0"))
    assert content["row"]["dice"] == 0.5
    assert content == json.loads((tmp_path / "seed_0" / "result.json").read_text(encoding="utf-8"))
    assert len(seen["overlays"]) == (not multi_label)


def test_a_run_that_fails_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match=r"failed: see .*train.log"):
        train_runs.run([tmp_path / "none.json"], {}, tmp_path / "train.log")
