"""Latent diffusion bundles over another autoencoder, by EDM, and trained together with it, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, run

from flemme_monai.commands.bundle_runs import SHORT_SPLIT
from flemme_monai.recipes import make_bundle
from flemme_monai.recipes.bundle import write

SMALL = {"network_def#backbone#channels": [16], "network_def#backbone#family#self_attention": [False, False]}
CODER = {"channels": [8, 16]}
SHORT = {"epochs": 2, "warmup_epochs": 1, "batch_size": 6, "image_size": [16, 16], "num_workers": 0}
KINDS = [(True, False, "schedule"), (False, False, "edm")]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "made", make_bundle("ldm_cnn", "made"))
    split = {part: [f"phantom_{index:03d}" for index in indices] for part, indices in SHORT_SPLIT.items()}
    (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    return tmp_path / "made"


def start(bundle: Path, configs: list[str], **settings: Any) -> None:
    """Run some configs of a bundle."""
    files = [str(bundle / "configs" / f"{name}.json") for name in configs]
    given = {"bundle_root": str(bundle), "device": "cpu", **settings}
    if configs[0].startswith("train"):
        given["split_file"] = str(bundle.parent / "split.json")
    run(config_file=files, meta_file=str(bundle / "configs" / "metadata.json"), **given)


def sampled(bundle: Path) -> None:
    """Samples of the trained weights, and their evaluation and interpolation, with nothing said again."""
    start(bundle, ["inference"], num_samples=2, num_inference_steps=2)
    assert (bundle / "output" / "inference" / "samples.png").is_file()
    start(bundle, ["train_diffusion", "evaluate"], num_samples=6, num_inference_steps=2)
    assert (bundle / "output" / "evaluate" / "summary.csv").is_file()
    start(bundle, ["inference", "interpolate"], num_samples=2, num_inference_steps=2)
    assert (bundle / "output" / "interpolate" / "way.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("variational", "conditional", "process"), KINDS)
def test_an_autoencoder_and_then_its_latents(bundle, variational, conditional, process):
    kind = {"variational": variational, "conditional_autoencoder": conditional}
    coder = {f"network_def#backbone#{name}": value for name, value in CODER.items()}
    start(bundle, ["train_autoencoder"], **SHORT, **coder, **kind)
    start(bundle, ["train_diffusion"], **SHORT, **SMALL, noise_process=process)
    sampled(bundle)


@pytest.mark.slow
@pytest.mark.parametrize(("variational", "conditional", "process"), KINDS)
def test_both_in_one_training(bundle, variational, conditional, process):
    kind = {"variational": variational, "conditional_autoencoder": conditional}
    coder = {f"autoencoder_def#backbone#{name}": value for name, value in CODER.items()}
    start(bundle, ["train_diffusion", "joint"], **SHORT, **SMALL, **coder, **kind, noise_process=process)
    assert not (bundle / "models" / "autoencoder").exists()
    sampled(bundle)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("variational", [False, True])
def test_the_config_makes_the_network_and_the_loss_of_one_training(bundle, variational, conditional):
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in ("train_diffusion", "joint")])
    settings = {"bundle_root": str(bundle), "num_classes": 3, "noise_process": "edm", **SMALL}
    kind = {"variational": variational, "conditional_autoencoder": conditional}
    parser.update(settings | kind)
    network = parser.get_parsed_content("network_def")
    assert (network.autoencoder.variational, network.autoencoder.is_conditional) == (variational, conditional)
    assert network.preconditioning.sigma_data == 1.0
    assert parser.get_parsed_content("latent_space").autoencoder is not network.autoencoder  # it is the average's
    assert type(parser.get_parsed_content("loss")).__name__ == "JointLoss"
    assert type(parser.get_parsed_content("train#inferer")).__name__ == "JointInferer"
    assert parser.get_parsed_content("validate#inferer").prepare.seed == 0
    assert type(parser.get_parsed_content("optimizer")).__name__ == "AdamW"
    learned = {id(p) for group in parser.get_parsed_content("optimizer").param_groups for p in group["params"]}
    assert learned == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("process", ["schedule", "edm"])
def test_the_config_over_an_autoencoder_that_is_trained_first_has_none_inside(bundle, process):
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train_diffusion.json"))
    parser.update({"bundle_root": str(bundle), "noise_process": process, **SMALL})
    network = parser.get_parsed_content("network_def")
    assert network.autoencoder is None
    assert (network.preconditioning is None) == (process == "schedule")
    sampler = type(parser.get_parsed_content("train#handlers#10#inferer#sampler")).__name__
    assert sampler == {"schedule": "SchedulerSampler", "edm": "HeunSampler"}[process]
