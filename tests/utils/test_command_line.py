"""A path means what the user typed, whatever the command line's parser makes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flemme_monai.utils import path_in, paths_in, user_path
from flemme_monai.utils.command_line import overrides

NAMES = ["20240102", "2024_01_02", "1e-3", "1.10", "0x10", "[a]", "a,b", "a#b", "(1)", "True", "a b", "0"]


@pytest.mark.parametrize("form", ["--ckpt_dir {}", "--ckpt_dir={}"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_called_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    words = ["--learning_rate", "0.001", "--fold", "0", *form.format(name).split("=" if "=" in form else " ", 1)]
    words = [*words[:4], form.format(name)] if "=" in form else words
    monkeypatch.setattr(sys, "argv", ["x/monai/bundle/__main__.py", "run", "--config_file", "a.json", *words])
    read = overrides(words)["ckpt_dir"]
    assert user_path(read) == Path(name)
    assert path_in(read, "model.pt") == f"{name}/model.pt"


def test_a_path_that_was_never_typed_stays() -> None:
    assert path_in(".", "models") == "./models"
    assert user_path(20240102) == Path("20240102")
    assert path_in("~/a", "b") == f"{Path.home()}/a/b"


def test_a_file_of_pretrained_weights_is_called_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--pretrained", "a#1/model.pt"]
    monkeypatch.setattr(sys, "argv", ["x/monai/bundle/__main__.py", "run", "--config_file", "a.json", *words])
    assert user_path(overrides(words)["pretrained"]) == Path("a#1/model.pt")


def test_several_folders_are_meant_by_a_list_or_a_pattern_unless_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fold_1", "fold_0", "other", "[a, b]"):
        (tmp_path / name).mkdir()
    assert paths_in("other", "model.pt") == "other/model.pt"
    assert paths_in("missing", "model.pt") == "missing/model.pt"
    assert paths_in(20240102, "model.pt") == "20240102/model.pt"
    assert paths_in(["other", "fold_0"], "model.pt") == ["other/model.pt", "fold_0/model.pt"]
    assert paths_in(("other",), "model.pt") == "other/model.pt"
    assert paths_in("fold_*", "model.pt") == ["fold_0/model.pt", "fold_1/model.pt"]
    assert paths_in("[a, b]", "model.pt") == "[a, b]/model.pt"
    with pytest.raises(FileNotFoundError, match=r"no folder fits x\*; expected some with model.pt"):
        paths_in("x*", "model.pt")
    with pytest.raises(ValueError, match=r"other is named twice"):
        paths_in(["other", "other"], "model.pt")
