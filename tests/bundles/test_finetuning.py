"""Trainings of bundles that begin with weights of another."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from flemme_monai.finetune import KEPT
from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.errors import one_line_error
from flemme_monai.utils.settings import check_overrides

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "image_size": [16, 16],
}


def workflow(bundle: Path, *names: str, **settings: Any) -> ConfigWorkflow:
    """A workflow on phantoms."""
    files = [str(bundle / "configs" / f"{name}.json") for name in names or ("train",)]
    given = {"num_workers": 0, "bundle_root": str(bundle), "device": "cpu", **settings}
    run = ConfigWorkflow(config_file=files, workflow_type="train", **given)
    run.initialize()
    return run


def train(bundle: Path, **settings: Any) -> None:
    workflow(bundle, **settings).run()


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that comes with weights."""
    bundle = tmp_path_factory.mktemp("bundles") / "sem_unet"
    write(bundle, make_bundle("sem_unet", settings={**SMALL, "num_classes": 2}))
    train(bundle, epochs=1, output_dir=str(bundle.parent / "output"))
    (bundle / "models" / "last.pt").unlink()
    return bundle


@pytest.fixture
def shipped(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "sem_unet")
    return tmp_path / "sem_unet"


def test_a_training_begins_with_the_bundles_weights_and_keeps_them(shipped):
    models = shipped / "models"
    came = {name: (models / name).read_bytes() for name in ("model.pt", "network.json", "split.json")}
    own = weights(models / "model.pt")
    run = workflow(shipped, pretrained=True, epochs=1)
    assert same(run.parser.get_parsed_content("network").state_dict(), own)
    run.run()
    assert {path.name: path.read_bytes() for path in (models / KEPT).iterdir()} == came
    assert not same(weights(models / "model.pt"), own)
    again = workflow(shipped, pretrained="true", epochs=1)
    assert same(again.parser.get_parsed_content("network").state_dict(), own)


@pytest.mark.slow
def test_a_training_goes_on_with_the_settings_that_it_began_with(shipped):
    settings = {"freeze": "backbone.encoder.*", "layer_decay": 0.5, "pretrained": True, "accumulation_steps": 2}
    train(shipped, epochs=1, ckpt_dir=str(shipped / "cut"), **settings)
    own = weights(shipped / "models" / "model.pt")
    (shipped / "models" / "model.pt").unlink()  # which no run that goes on needs
    go_on = {"epochs": 2, "resume": True, "ckpt_dir": str(shipped / "cut")}
    for other, message in (
        ({"freeze": None}, r"froze \d+ parameters and this one 0 \(backbone.encoder.\S+ differs\)"),
        ({"freeze": "backbone.decoder.*"}, "expected the same: give --freeze as the run began with"),
        ({"layer_decay": 1.0}, "parameter groups that the run began with|settings that the run began with, such as"),
    ):
        with pytest.raises(RuntimeError) as refused:
            train(shipped, **{**settings, **go_on, **other})
        assert re.search(message, one_line_error(refused.value))
    train(shipped, **settings, **go_on)
    cut = torch.load(shipped / "cut" / "last.pt", weights_only=True)
    peaks = cut["lr_scheduler"]["base_lrs"]
    assert sorted(set(peaks), reverse=True) == [0.001 * 0.5**depth for depth in range(3)]  # the decoder's
    assert [g["lr"] / peak for g, peak in zip(cut["optimizer"]["param_groups"], peaks)] == [pytest.approx(0.01)] * 3
    assert all(torch.equal(cut["network"][name], own[name]) for name in own if name.startswith("backbone.encoder."))


def test_cases_that_the_weights_were_trained_on_are_not_tested(shipped, tmp_path):
    split = json.loads((shipped / "models" / "split.json").read_text(encoding="utf-8"))
    with pytest.raises(RuntimeError) as refused:
        workflow(shipped, pretrained=True, shuffle_split=True).parser.get_parsed_content("datalist")
    message = r"by \S+split.json the pretrained weights were trained on \d+ of the 16 test cases"
    assert re.search(message, one_line_error(refused.value))
    folder = {"ckpt_dir": str(tmp_path / "own"), "output_dir": str(tmp_path / "out")}
    # other phantoms have the names of those which the weights were trained on
    run = workflow(shipped, pretrained=True, epochs=1, seed=5, **folder)
    run.run()
    own = json.loads((tmp_path / "own" / "split.json").read_text(encoding="utf-8"))
    assert own["train"] == split["train"]
    assert own["pretrained"] == sorted(split["fingerprints"][name] for name in split["train"])
    # what training was given has no effect in evaluation
    evaluated = workflow(shipped, "train", "evaluate", seed=5, pretrained="gone.pt", **folder)
    assert [case["case"] for case in evaluated.parser.get_parsed_content("datalist")["test"]] == own["test"]
    # of the first phantoms, those test that the weights were not trained or chosen on before
    later = workflow(shipped, "train", "evaluate", **folder).parser.get_parsed_content("datalist")["test"]
    assert {case["case"] for case in later} == split["fingerprints"].keys() - set(split["train"])


@pytest.mark.parametrize("pair", ["ddpm_cnn", "hsem_vmambau", "clm_cnn"])
def test_averages_and_wrapped_networks_begin_with_the_weights(pair, tmp_path):
    bundle = tmp_path / pair
    write(bundle, make_bundle(pair, settings={"network_def#backbone#channels": [8, 8], "image_size": [16, 16]}))
    (bundle / "models").mkdir()
    first = workflow(bundle, seed=1).parser.get_parsed_content("network_def").state_dict()
    torch.save(first, bundle / "models" / "model.pt")
    parser = workflow(bundle, pretrained=True, freeze="backbone.encoder.*").parser
    assert same(parser.get_parsed_content("network").state_dict(), first)
    if pair.startswith("ddpm"):
        assert same(parser.get_parsed_content("ema").ema_model.state_dict(), first)
    parts = parser.get_parsed_content("optimizer").param_groups
    learning = {id(p) for group in parts for p in group["params"]}
    named = dict(parser.get_parsed_content("network_def").named_parameters())
    assert learning == {id(p) for name, p in named.items() if not name.startswith("backbone.encoder.")}


def test_an_autoencoder_begins_with_an_autoencoder(tmp_path):
    bundle = tmp_path / "ldm_cnn"
    write(bundle, make_bundle("ldm_cnn", settings={"image_size": [16, 16]}))
    (bundle / "models" / "autoencoder").mkdir(parents=True)
    for name, path in ("train_autoencoder", "autoencoder/model.pt"), ("train_diffusion", "model.pt"):
        state = workflow(bundle, name, seed=1).parser.get_parsed_content("network_def").state_dict()
        if "scale_factor" in state:
            state["scale_factor"] += 3
        torch.save(state, bundle / "models" / path)
        found = workflow(bundle, name, pretrained="ldm_cnn").parser.get_parsed_content("network").state_dict()
        assert all(torch.equal(found[key], state[key]) for key in found.keys() - {"scale_factor"})
        assert found.get("scale_factor", 0) == 0  # it is of the data


def test_the_command_line_takes_the_settings(trained):
    config = ["--config_file", str(trained / "configs" / "train.json")]
    for given in (
        ["--pretrained", "true", "--pretrained_head", "false", "--freeze", "backbone.encoder.*"],
        ["--pretrained", "weights.safetensors", "--freeze", "['backbone.encoder.*','pyramid.*']"],
        ["--pretrained", "false", "--layer_decay", "0.8"],
    ):
        check_overrides([*config, *given])
    with pytest.raises(ValueError, match="pretrained_head is 'no'; expected true or false"):
        check_overrides([*config, "--pretrained_head", "no"])


@pytest.mark.slow
def test_two_processes_begin_with_the_weights(shipped, tmp_path):
    own = weights(shipped / "models" / "model.pt")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--standalone",
        "-m",
        "monai.bundle",
    ]
    files = [str(shipped / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    given = {"epochs": "1", "device": "cpu", "pretrained": "true", "freeze": "backbone.encoder.*", "layer_decay": "0.7"}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [*command, "run", "--config_file", str(files), "--bundle_root", str(shipped), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("pretrained: ") + done.stderr.count("pretrained: ") == 1 + done.stdout.count(
        "> pretrained"
    )
    state = weights(shipped / "models" / "model.pt")
    kept = {name for name in own if torch.equal(own[name], state[name])}
    assert {name for name in own if name.startswith("backbone.encoder.")} <= kept != own.keys()
    assert same(weights(shipped / "models" / KEPT / "model.pt"), own)
