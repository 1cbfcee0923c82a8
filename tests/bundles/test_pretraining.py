"""Bundles whose encoder learns from images alone before training."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from PIL import Image

from flemme_monai.recipes import make_bundle, write
from flemme_monai.ssl import METHODS
from flemme_monai.utils.errors import one_line_error

SMALL = {
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "image_size": [16, 16],
    "num_classes": 2,
}
PRETRAIN = {"bank_size": 20, "projection_channels": 8}


def workflow(bundle: Path, *names: str, **settings: Any) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    given = {"num_workers": 0, "bundle_root": str(bundle), "device": "cpu", "batch_size": 16, **settings}
    run = ConfigWorkflow(config_file=files, workflow_type="train", **given)
    run.initialize()
    return run


def pretrain(bundle: Path, **settings: Any) -> ConfigWorkflow:
    run = workflow(bundle, "train", "pretrain", **{**PRETRAIN, **settings})
    run.run()
    return run


def state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def made(folder: Path, pair: str = "sem_unet") -> Path:
    write(folder / pair, make_bundle(pair, settings=SMALL))
    return folder / pair


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle after three epochs of MoCo."""
    bundle = made(tmp_path_factory.mktemp("bundles"))
    pretrain(bundle, epochs=3)
    return bundle


def test_a_pretraining_leaves_an_encoder_beside_its_run(pretrained):
    models = pretrained / "models"
    assert sorted(p.name for p in models.iterdir() if p.name[0] != ".") == ["pretrained.pt", "pretraining"]
    run = models / "pretraining"
    assert sorted(p.name for p in run.iterdir() if p.name[0] != ".") == ["last.pt", "network.json", "split.json"]
    network = workflow(pretrained, "train").parser.get_parsed_content("network_def")
    encoder = {name: t for name, t in network.state_dict().items() if name.startswith("backbone.encoder.")}
    saved = state(models / "pretrained.pt")
    assert {name: t.shape for name, t in saved.items()} == {name: t.shape for name, t in encoder.items()}
    assert not all(torch.equal(saved[name], t) for name, t in encoder.items())
    assert (
        json.loads((run / "network.json").read_text(encoding="utf-8"))["network"]["_target_"]
        == "flemme_monai.architectures.SeM"
    )


def test_the_head_and_the_encoder_learn_and_the_keys_follow(pretrained):
    run = workflow(pretrained, "train", "pretrain", **PRETRAIN)
    network, optimizer = (run.parser.get_parsed_content(name) for name in ("network", "optimizer"))
    learning = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in learning}
    assert {name.rpartition(".")[0].split(".")[0] for name in names} == {"backbone", "head"}
    assert not any(name.startswith(("backbone.decoder", "key_")) for name in names)


def test_a_killed_pretraining_goes_on_exactly(pretrained, tmp_path):
    cut = made(tmp_path)

    def kill(engine: Any) -> None:
        if engine.state.epoch == 2:
            raise KeyboardInterrupt

    run = workflow(cut, "train", "pretrain", epochs=3, **PRETRAIN)
    trainer = run.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert state(cut / "models/pretraining/last.pt")["trainer"]["epoch"] == 1
    pretrain(cut, epochs=3, resume=True)
    whole, resumed = (state(bundle / "models/pretraining/last.pt") for bundle in (pretrained, cut))
    kept = {"bank", "bank_cases", "bank_next", "steps", "head.0.weight", "key_head.0.weight"}
    assert kept <= whole["network"].keys()
    assert all(torch.equal(t, resumed["network"][name]) for name, t in whole["network"].items())
    for index, moments in whole["optimizer"]["state"].items():
        assert all(torch.equal(t, resumed["optimizer"]["state"][index][name]) for name, t in moments.items())
    first, second = (state(bundle / "models/pretrained.pt") for bundle in (pretrained, cut))
    assert all(torch.equal(t, second[name]) for name, t in first.items())


def test_a_run_under_other_settings_does_not_go_on(pretrained, tmp_path):
    shutil.copytree(pretrained, tmp_path / "sem_unet")
    with pytest.raises(RuntimeError) as refused:
        pretrain(tmp_path / "sem_unet", epochs=4, resume=True, temperature=0.5)
    assert "temperature is 0.5 here and 0.2 in" in one_line_error(refused.value)


def test_fine_tuning_begins_with_the_encoder_and_says_so(pretrained, tmp_path, capsys):
    shutil.copytree(pretrained, tmp_path / "sem_unet")
    bundle = tmp_path / "sem_unet"
    path = bundle / "models" / "pretrained.pt"
    run = workflow(bundle, "train", pretrained=str(path), epochs=1)
    network = run.parser.get_parsed_content("network")
    encoder = state(path)
    assert all(torch.equal(network.state_dict()[name], t) for name, t in encoder.items())
    lines = capsys.readouterr().out.splitlines()
    assert any(
        re.fullmatch(r"pretrained: \d+ of \d+ tensors, 100.0 % of the encoder's parameters, of .*", x) for x in lines
    )
    assert f"loaded: backbone.encoder.* ({len(encoder)})" in lines
    assert any(x.startswith("not loaded, not in the file, which is an encoder's: backbone.decoder.* (") for x in lines)
    assert not any(x.startswith("trained otherwise") for x in lines)
    run.run()
    assert (bundle / "models" / "model.pt").is_file()
    split = json.loads((bundle / "models" / "split.json").read_text(encoding="utf-8"))
    theirs = json.loads((bundle / "models" / "pretraining" / "split.json").read_text(encoding="utf-8"))
    assert split["train"] == theirs["train"]
    assert not set(split["test"]) & set(theirs["train"])


def test_images_that_the_encoder_has_seen_are_not_tested(pretrained):
    path = str(pretrained / "models" / "pretrained.pt")
    parser = workflow(pretrained, "train", pretrained=path, shuffle_split=True).parser
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("datalist")
    assert re.search(r"by \S+pretraining/split.json the pretrained weights were trained", one_line_error(refused.value))


def test_true_is_the_encoder_where_there_are_no_weights(pretrained):
    found = workflow(pretrained, "train", pretrained=True).parser.get_parsed_content("pretrained_weights")
    assert found == pretrained / "models" / "pretrained.pt"


def test_an_encoder_of_other_widths_is_refused(pretrained):
    path = str(pretrained / "models" / "pretrained.pt")
    wide = {"network_def#backbone#channels": [16, 16], "network_def#backbone#patch_channels": 16}
    parser = workflow(pretrained, "train", pretrained=path, **wide).parser
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("network")
    assert "expected at least half (network_def#backbone#" in one_line_error(refused.value)


@pytest.mark.parametrize("labels", [0, 3])
def test_images_without_labels_are_enough(labels, tmp_path):
    data = tmp_path / "data"
    for folder, count in (("images", 10), ("masks", labels)):
        (data / folder).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.RandomState(i).randint(0, 255, (24, 20), np.uint8)
            Image.fromarray(pixels if folder == "images" else (pixels > 128) * np.uint8(255)).save(
                data / folder / f"{i}.png"
            )
    if not labels:
        (data / "masks").rmdir()
    bundle = made(tmp_path)
    pretrain(bundle, epochs=1, dataset_dir=str(data), batch_size=4)
    assert (bundle / "models" / "pretrained.pt").is_file()
    rows = (bundle / "output" / "pretrain" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("pair", "method", "settings"),
    [
        ("sem_unet", "simclr", {}),
        pytest.param("sem_unet", "barlow_twins", {}, marks=pytest.mark.slow),
        pytest.param("hsem_unet", "masked", {}, marks=pytest.mark.slow),
        pytest.param("sem_vit", "masked", {}, marks=pytest.mark.slow),
        pytest.param("hsem_vmambau", "moco", {"feature_level": 1}, marks=pytest.mark.slow),
        pytest.param("sem_unet", "moco", {"spatial_dims": 3, "image_size": [16, 16, 16]}, marks=pytest.mark.slow),
    ],
)
def test_every_method_pretrains(pair, method, settings, tmp_path):
    bundle = made(tmp_path, pair)
    pretrain(bundle, epochs=1, method=method, **settings)
    encoder = state(bundle / "models" / "pretrained.pt")
    assert encoder
    assert all(name.startswith("backbone.encoder.") and torch.isfinite(t).all() for name, t in encoder.items())
    network = workflow(bundle, "train", pretrained=True, **settings).parser.get_parsed_content("network")
    assert all(torch.equal(network.state_dict()[name], t) for name, t in encoder.items())


def test_another_method_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(RuntimeError) as refused:
        workflow(made(tmp_path), "train", "pretrain", method="mocko").parser.get_parsed_content("network")
    assert "there is no method 'mocko'; did you mean moco?" in one_line_error(refused.value)


def test_the_config_has_every_method(tmp_path):
    config = json.loads((made(tmp_path) / "configs" / "pretrain.json").read_text(encoding="utf-8"))
    assert tuple(config["networks"]) == tuple(config["losses"]) == METHODS
