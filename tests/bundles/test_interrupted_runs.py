"""Data that vanish or change in a run or before it goes on: one line, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import random_picture, write_picture
from monai.bundle import run
from refusal import refused

from flemme_monai.handlers import History
from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.errors import one_line_error

SETTINGS = {
    "num_classes": 2,
    "image_size": [16, 16],
    "batch_size": 4,
    "epochs": 3,
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
}
UNCACHED = {"train#dataset#cache": False, "train#dataset#slices": False}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "sem_unet"
    write(folder, make_bundle("sem_unet", settings=SETTINGS))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for k in range(10):
        picture = random_picture(k, (20, 24))
        write_picture(tmp_path / "set" / "images" / f"{k}.png", picture)
        write_picture(tmp_path / "set" / "masks" / f"{k}.png", picture // 128)
    return tmp_path / "set"


def train(bundle: Path, data: Path, folder: Path, **settings: Any) -> dict[str, Path]:
    """Train into a folder; its folders of weights and outputs."""
    results = {"ckpt_dir": folder / "ckpt", "output_dir": folder / "out"}
    folders = {name: str(path) for name, path in results.items()}
    run(
        config_file=str(bundle / "configs" / "train.json"),
        **{"dataset_dir": str(data), "num_workers": 0, **folders, **settings},
    )
    return results


def after_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, change: Callable[[], Any]) -> None:
    end_epoch = History._end_epoch

    @wraps(end_epoch)
    def changed(self: History, engine: Any) -> None:
        end_epoch(self, engine)
        if engine.state.epoch == epoch:
            change()

    monkeypatch.setattr(History, "_end_epoch", changed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "ckpt" / "last.pt", weights_only=True)["network"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "FileNotFoundError: {image}: no such file"),
        (lambda image: image.write_bytes(b"x"), "ValueError: {image}: cannot be read as .png"),
    ],
)
def test_an_image_that_is_spoilt_in_a_run_is_named_and_put_back_costs_an_epoch(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable, words: str
) -> None:
    train(bundle, data, tmp_path / "whole", **UNCACHED)
    image = data / "images" / "0.png"
    content = image.read_bytes()
    with monkeypatch.context() as patch:
        after_epoch(patch, 1, lambda: spoil(image))
        with pytest.raises(RuntimeError, match="run") as error:
            train(bundle, data, tmp_path, **UNCACHED)
    line = one_line_error(error.value)
    assert line is not None
    assert line.startswith(words.format(image=image))
    image.write_bytes(content)
    train(bundle, data, tmp_path, resume="true", **UNCACHED)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_has_its_data_in_memory_and_needs_the_files_no_more(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_epoch(monkeypatch, 1, (data / "images" / "0.png").unlink)
    train(bundle, data, tmp_path, epochs=2)
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["trainer"]["epoch"] == 2


def test_a_data_set_that_changed_before_a_resume_is_said(
    bundle: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = train(bundle, data, tmp_path, epochs=1)
    again = {"dataset_dir": str(data), "num_workers": 0, "resume": "true"}
    image, mask = data / "images" / "0.png", data / "masks" / "0.png"
    content = image.read_bytes()
    write_picture(image, random_picture(77, (20, 24)))
    assert "1 of 10 cases in " in (line := refused(bundle, "train", results, **again))
    assert "split.json are changed (0); put them back" in line
    image.unlink()
    mask.rename(tmp_path / "mask.png")
    assert "split.json are missing (0); put them back" in refused(bundle, "train", results, **again)
    (tmp_path / "mask.png").rename(mask)
    image.write_bytes(content)
    write_picture(data / "images" / "new.png", random_picture(9, (20, 24)))
    write_picture(data / "masks" / "new.png", random_picture(9, (20, 24)) // 128)
    train(bundle, data, tmp_path, epochs=2, resume="true")
    assert "new" not in (tmp_path / "ckpt" / "split.json").read_text(encoding="utf-8")
