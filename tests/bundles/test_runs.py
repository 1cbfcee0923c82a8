"""Training as clients call it, and what a run's start refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import decollate_batch
from monai.handlers import mlflow_handler
from PIL import Image

from flemme_monai.commands.bundle_runs import working_in
from flemme_monai.commands.places import BUNDLES
from flemme_monai.handlers import pred_and_label
from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils import find_bundle_root, folder_lock
from flemme_monai.utils.errors import one_line_error

SMALL = {
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
}
SETTINGS = {"image_size": [16, 16], "batch_size": 4, "num_workers": 0, "epochs": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Six pictures with masks of two classes."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    for name in "abcdef":
        mask = np.zeros((16, 16), np.uint8)
        mask[3:9, 4:10] = 1
        for part, picture in {
            "images": (mask * 120 + random.rand(16, 16) * 60).astype(np.uint8),
            "masks": mask,
        }.items():
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"{name}.png")
    return folder


@pytest.fixture
def bundle(tmp_path) -> Path:
    write(tmp_path / "sem_unet", make_bundle("sem_unet", settings={**SMALL, "num_classes": 2}))
    return tmp_path / "sem_unet"


def workflow(bundle: Path, data: Path, names=("train",), **settings: Any) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    kind = "infer" if names[0] == "inference" else "train"
    given = {**SETTINGS, "dataset_dir": str(data), "bundle_root": str(bundle), **settings}
    known = ConfigParser.load_config_files(files)
    return ConfigWorkflow(
        config_file=files,
        workflow_type=kind,
        **{key: value for key, value in given.items() if "#" in key or key in known or key == "tracking"},
    )


class MlflowClient:
    """The few calls that MONAI's handler makes, kept in a list."""

    metrics: list[Any] = []

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.tracking_uri = "kept"

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="0", lifecycle_stage="active")

    def search_runs(self, experiment: str) -> list:
        return []

    def create_run(self, experiment_id: str, run_name: str) -> SimpleNamespace:
        return self.get_run("0")

    def get_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(run_id="0"), data=SimpleNamespace(params={}))

    def log_batch(self, run_id: str, metrics: list, params: list, tags: list) -> None:
        self.metrics.extend(metrics)

    def log_artifact(self, run_id: str, path: str) -> None:
        pass

    def set_terminated(self, run_id: str, status: str | None = None) -> None:
        pass


@pytest.fixture
def metrics(monkeypatch) -> Iterator[list]:
    def metric(key: str, value: float, timestamp: int, step: int) -> tuple[str, float, int]:
        return key, float(value), step

    entities = SimpleNamespace(
        RunStatus=SimpleNamespace(to_string=str, FINISHED="FINISHED"),
        LifecycleStage=SimpleNamespace(ACTIVE="active"),
        Param=lambda key, value: (key, value),
        Metric=metric,
    )
    monkeypatch.setattr(mlflow_handler, "mlflow", SimpleNamespace(MlflowClient=MlflowClient, entities=entities))
    yield MlflowClient.metrics
    MlflowClient.metrics.clear()


@pytest.mark.parametrize("decollate", [True, False])
def test_mlflow_follows_a_training(bundle, data, metrics, decollate):
    run = workflow(bundle, data, tracking="mlflow", **{"train#trainer#decollate": decollate})
    run.initialize()
    run.run()
    found = {name: value for name, value, _ in metrics}
    assert {"train_loss", "train_dice", "dice", "iou", "lr_group_0"} <= found.keys()
    row = run.parser.get_parsed_content("train#trainer").state.history.rows[0]
    losses = [value for name, value, _ in metrics if name == "train_loss"]
    assert len(losses) == 1
    assert losses[0] == pytest.approx(row["loss"])
    assert found["dice"] == pytest.approx(row["dice"])


@pytest.mark.parametrize("name", ["sem_unet", "hsem_swin", "clm_cnn", "vae_cnn", "ddpm_cnn"])
def test_the_train_metric_is_the_same_of_decollated_output(name):
    """`--train#trainer#decollate False` saves the cutting of batches into items."""
    config = json.loads((BUNDLES / name / "configs" / "train.json").read_text(encoding="utf-8"))
    assert config["train"]["trainer"]["decollate"] is True
    ((_, metric),) = config["train"]["key_metric"].items()
    parts = {"imports": config["imports"], "multi_label": False, "x": metric["output_transform"]}
    transform = ConfigParser(parts).get_parsed_content("x")
    pred, label = torch.rand(2, 3, 4, 4, requires_grad=True), torch.randint(2, (2, 1, 4, 4))
    whole = transform({"pred": pred, "label": label})
    items = transform([{"pred": p, "label": y} for p, y in zip(pred, label)])
    for one, other in zip(whole, items, strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
    assert whole[0].shape == ((2, 1, 4, 4) if "sem" in name else pred.shape)


def test_the_classes_of_decollated_images_are_their_batchs():
    pred, label = torch.rand(3, 2), torch.tensor([1, 0, 1])
    items = decollate_batch({"pred": pred, "label": label})
    for one, other in zip(pred_and_label()(items), (pred, label), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("epochs", [2, 6])
def test_the_schedule_is_that_of_the_epochs_a_client_sets(bundle, data, epochs):
    """MONAI Label sets the trainer's maximum, not the bundle's ``epochs``."""
    run = workflow(bundle, data, epochs=3, **{"train#trainer#max_epochs": epochs})
    run.initialize()
    run.run()
    rates = [row["learning_rate"] for row in run.parser.get_parsed_content("train#trainer").state.history.rows]
    assert len(rates) == epochs
    assert max(rates) == 1e-3
    assert all(rates)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_a_handler_at_the_first_place_of_the_list_breaks_nothing(bundle, data):
    run = workflow(bundle, data)
    added = {"_target_": "monai.handlers.StatsHandler", "output_transform": "$lambda output: None"}
    run.parser["train"]["handlers"].insert(0, added)
    run.initialize()
    run.run()
    trainer = run.parser.get_parsed_content("train#trainer")
    assert len(trainer.state.history.rows) == 1
    assert {"history", "early_stop"} <= torch.load(bundle / "models" / "last.pt", weights_only=True).keys()


def test_no_handler_of_a_bundle_is_found_by_its_place_but_the_average():
    found = set()
    for path in BUNDLES.glob("*/configs/*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("ema", None)
        if "handlers#" in json.dumps(config):
            found.add(path.parent.parent.name)
    assert found == set()


def test_a_disabled_loader_leaves_nothing_among_the_handlers(bundle, data):
    run = workflow(bundle, data, ("inference",), **{"checkpointloader#_disabled_": True})
    run.initialize()
    run.run()
    assert list((bundle / "output" / "inference").glob("a_seg.png"))


@pytest.mark.parametrize("first", [True, False])
def test_an_evaluation_of_samples_runs_whether_or_not_all_is_asked_for_before(tmp_path, data, first):
    write(tmp_path / "ddpm_cnn", make_bundle("ddpm_cnn"))
    bundle = tmp_path / "ddpm_cnn"
    more = {"num_samples": 2, "num_inference_steps": 2, "validate#handlers": []}
    run = workflow(bundle, data, ("train", "evaluate"), **more)
    run.initialize()
    if first:
        assert run.check_properties() == []
    run.run()
    assert run.check_properties() == []


def test_a_training_in_a_folder_in_use_is_refused_before_the_data_is_read(bundle, data, monkeypatch):
    run = workflow(bundle, "nowhere")
    (bundle / "models").mkdir()
    (bundle / "models" / folder_lock.LOCK_FILE).write_text(
        '{"process": 7, "host": "h", "since": "noon"}', encoding="utf-8"
    )
    monkeypatch.setattr(folder_lock, "_lock", lambda file: False)
    run.initialize()
    with pytest.raises(RuntimeError, match="refuse_used_folders") as error:
        run.run()
    line = one_line_error(error.value)
    assert line.startswith(f"ValueError: {bundle}/models is in use by another run (process 7 on h since noon)")


def test_a_bundle_in_yaml_finds_its_root_and_its_other_configs(bundle, monkeypatch, caplog):
    yaml = pytest.importorskip("yaml")
    for path in (bundle / "configs").glob("*.json"):
        path.with_suffix(".yaml").write_text(
            yaml.safe_dump(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8"
        )
        path.unlink()
    with working_in(bundle.parent):
        assert find_bundle_root("sem_unet") == "sem_unet"
    with working_in(bundle):
        assert find_bundle_root("sem_unet") == "."
    from flemme_monai.utils.settings import check_overrides

    caplog.set_level("INFO")
    check_overrides(["--config_file", str(bundle / "configs" / "inference.yaml"), "--epochs", "3"])
    assert "epochs has no effect in inference.yaml" in caplog.messages


def test_what_is_to_be_trained_first_is_said_with_all_ways_to_name_it(bundle, data):
    run = workflow(bundle, data, ("inference",))
    run.initialize()
    with pytest.raises(RuntimeError, match="run") as error:
        run.run()
    line = one_line_error(error.value)
    assert line.endswith("train first, or name its folder with --ckpt_dir or the bundle's with --bundle_root")


def test_home_is_meant_in_every_path_setting(bundle, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(data, tmp_path / "home" / "set")
    split = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    (tmp_path / "home" / "split.json").write_text(json.dumps(split), encoding="utf-8")
    (tmp_path / "here").mkdir()
    settings = {"ckpt_dir": "~/ck", "split_file": "~/split.json"}
    with working_in(tmp_path / "here"):
        for names, output in ((("train",), "~/t"), (("train", "evaluate"), "~/e"), (("inference",), "~/i")):
            run = workflow(bundle, "~/set", names, output_dir=output, **settings)
            run.initialize()
            run.run()
    assert list((tmp_path / "here").iterdir()) == []
    home = tmp_path / "home"
    for path in ("ck/model.pt", "t/metrics.csv", "e/cases.csv", "i/a_seg.png"):
        assert (home / path).is_file()
