"""Which file a training begins with, how it is read, and that weights which a bundle came with stay."""

from __future__ import annotations

import builtins
import logging
import os
import re
from pathlib import Path

import pytest
import torch

from flemme_monai.finetune import find_weights, keep_weights, read_weights

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def bundle(folder: Path, *weights: str) -> Path:
    """A folder that is a bundle, with files of weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}", encoding="utf-8")
    for name in weights:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(STATE, folder / name)
    return folder


@pytest.mark.parametrize("word", [None, False, "false", "False", "none", ""])
def test_none_is_none(word, tmp_path):
    assert find_weights(word, tmp_path, tmp_path) is None


@pytest.mark.parametrize("word", [True, "true", "True"])
def test_true_is_what_the_bundle_came_with(word, tmp_path):
    root, elsewhere = bundle(tmp_path / "b", "models/model.pt"), tmp_path / "run"
    own, kept = root / "models" / "model.pt", root / "models" / "pretrained" / "model.pt"
    assert find_weights(word, root, root / "models") == own
    elsewhere.mkdir()
    torch.save(STATE, elsewhere / "model.pt")  # of an earlier run
    assert find_weights(word, root, elsewhere) == own
    kept.parent.mkdir()
    torch.save(STATE, kept)
    assert find_weights(word, root, root / "models") == kept
    assert find_weights(word, bundle(tmp_path / "empty"), elsewhere) == elsewhere / "model.pt"
    with pytest.raises(FileNotFoundError, match=r"pretrained is true and there is no model.pt in \S+models or \S+new:"):
        find_weights(word, tmp_path / "empty", tmp_path / "new")


def test_an_encoder_that_no_pretraining_has_written_yet(tmp_path):
    path = bundle(tmp_path / "one") / "models" / "pretrained.pt"
    with pytest.raises(FileNotFoundError, match=r"pretrained\.pt is not there: run train\.json with pretrain"):
        find_weights(str(path), tmp_path / "one", tmp_path / "one")


def test_a_file_and_a_bundle_by_its_folder_or_its_name(tmp_path, monkeypatch):
    root = bundle(tmp_path / "bundles" / "one")
    other = bundle(tmp_path / "bundles" / "two", "models/model.pt", "models/autoencoder/model.pt")
    weights = other / "models" / "model.pt"
    assert find_weights(str(weights), root, root) == weights
    assert find_weights(str(other), root, root) == weights
    assert find_weights("two", root, root) == weights
    assert find_weights("two", root, root, "models/autoencoder") == other / "models" / "autoencoder" / "model.pt"
    monkeypatch.chdir(tmp_path / "bundles" / "one")
    assert find_weights("two", ".", ".").samefile(weights)


def test_what_is_no_weights_is_refused(tmp_path):
    root = bundle(tmp_path / "one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "table.csv").touch()
    for name, message in (
        ("folder", "which is a folder that is no bundle; expected true, a file .pt or .safetensors, the folder of a"),
        ("nothing", "which is neither a file nor a bundle; expected true"),
        ("one", "has no models/model.pt: train it first"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            find_weights(tmp_path / name, root, root)
    with pytest.raises(ValueError, match=r"table.csv; expected a file .pt or .safetensors"):
        find_weights(tmp_path / "table.csv", root, root)


def test_a_run_that_goes_on_takes_its_own(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    assert find_weights("nothing", tmp_path, tmp_path, resume=True) is None
    assert "pretrained has no effect: the run goes on with its own weights" in caplog.text


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_both_formats_are_read(suffix, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save(STATE, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(STATE, path)
    found = read_weights(path)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_a_file_of_safetensors_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "safetensors":
            raise ModuleNotFoundError("No module named 'safetensors'", name="safetensors")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ModuleNotFoundError, match=r"w.safetensors needs the package safetensors, .*: pip install safet"
    ):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds a list; expected a network's state dict"),
        ({"network": STATE, "trainer": {"epoch": 3}}, "holds network, trainer; expected a network's tensors by name"),
        ({}, "holds nothing; expected"),
        (torch.nn.Linear(2, 2), "is no checkpoint that loads with weights_only=True"),
    ],
)
def test_other_contents_are_named(content, message, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_weights(tmp_path / "w.pt")


def test_a_damaged_file_of_safetensors_is_named(tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{]")
    with pytest.raises(ValueError, match=r"w.safetensors is no file of safetensors \(.*\): it is damaged or cut short"):
        read_weights(tmp_path / "w.safetensors")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_weights_of_a_bundle_are_kept_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="flemme_monai")
    keep_weights(tmp_path)
    assert contents(tmp_path) == {}
    for name in ("model.pt", "network.json", "split.json", "model.ts"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    keep_weights(tmp_path)
    kept = {"model.pt": b"model.pt", "network.json": b"network.json", "split.json": b"split.json"}
    assert contents(tmp_path / "pretrained") == kept
    assert caplog.messages == [f"the weights that were in {tmp_path} are kept in {tmp_path / 'pretrained'}"]
    (tmp_path / "model.pt").write_text("of a run", encoding="utf-8")
    keep_weights(tmp_path)
    assert contents(tmp_path / "pretrained") == kept
    assert not list(tmp_path.glob(".part_*"))


def test_the_weights_of_a_run_are_not_kept(tmp_path):
    for name in ("model.pt", "last.pt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    keep_weights(tmp_path)
    assert sorted(contents(tmp_path)) == ["last.pt", "model.pt"]


def test_weights_that_cannot_be_kept_stop_the_run(tmp_path, monkeypatch):
    (tmp_path / "model.pt").write_text("weights", encoding="utf-8")
    monkeypatch.setattr("shutil.copy2", lambda *args: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(OSError, match=r"pretrained cannot be written \(No space left on device\): make room"):
        keep_weights(tmp_path)
    assert contents(tmp_path) == {"model.pt": b"weights"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
