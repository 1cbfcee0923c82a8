"""A job of NVFlare is files that name the bundle, its clients' data and what they do; writing it needs no NVFlare."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from flemme_monai.commands.federate import main
from flemme_monai.federated import network_of
from flemme_monai.recipes import make_bundle, write

SMALL = {"network_def#backbone#channels": [4, 4], "num_classes": 2}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "bundle", make_bundle("sem_unet", settings=SMALL))
    return tmp_path / "bundle"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_client_trains_on_its_own_data_and_the_server_averages(bundle: Path, tmp_path: Path, capsys) -> None:
    job, workspace = tmp_path / "job", tmp_path / "workspace"
    words = [str(bundle), str(job), "--clients", "/a", "/b", "/c", "--rounds", "4", "--local_epochs", "2"]
    assert main([*words, "--workspace", str(workspace), "--set", "image_size=[16,16]", "in_channels=1"]) == 0
    assert f"nvflare simulator {job} -w {workspace} -n 3" in capsys.readouterr().out
    meta = read(job / "meta.json")
    assert meta["min_clients"] == 3
    assert meta["deploy_map"]["app_site-2"] == ["site-2"]
    assert set(meta["deploy_map"]) == {path.name for path in job.iterdir() if path.is_dir()}
    server = read(job / "app_server" / "config" / "config_fed_server.json")
    (averaging,), (persistor,) = server["workflows"], server["components"]
    assert averaging["args"] == {"num_clients": 3, "num_rounds": 4, "persistor_id": persistor["id"]}
    executor = read(job / "app_site-3" / "config" / "config_fed_client.json")["executors"][0]["executor"]
    assert executor["args"]["settings"] == {"image_size": [16, 16], "in_channels": 1, "dataset_dir": "/c"}
    assert executor["args"]["local_epochs"] == 2
    named = {averaging["path"], persistor["path"], persistor["args"]["model"]["path"], executor["path"]}
    assert set(read(workspace / "local" / "resources.json")["class_allow_list"]) == named
    own = {path.rpartition(".")[::2] for path in named if path.startswith("flemme_monai.")}
    for module, _ in own:
        assert find_spec(module) is not None
    model = persistor["args"]["model"]
    assert getattr(import_module("flemme_monai.federated"), model["path"].rpartition(".")[2]) is network_of
    assert network_of(**model["args"]).training


def test_the_federation_begins_with_the_weights_of_the_seed(bundle: Path) -> None:
    first, again, other = (network_of(str(bundle), {"seed": seed}).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_folder_that_holds_files_and_a_folder_that_is_no_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="expected a new folder"):
        main([str(bundle), str(bundle), "--clients", "/a"])


@pytest.mark.skipif(find_spec("nvflare") is None, reason="nvflare is not installed")
@pytest.mark.slow
def test_the_executor_is_one_of_nvflare() -> None:
    from nvflare.apis.executor import Executor

    assert issubclass(import_module("flemme_monai.federated.executor").BundleExecutor, Executor)
