"""The command line: its commands, its help, and one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from flemme_monai import cli
from flemme_monai.registry import ARCHITECTURES, ENCODERS, pairs


def test_every_pair_and_part_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["list"])
    words = capsys.readouterr().out.split()
    assert {*pairs(), *ENCODERS, *ARCHITECTURES} <= set(words)


def test_listing_imports_no_torch() -> None:
    code = "import sys; from flemme_monai.cli import main; main(['list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(words)
    out = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"  {name} " not in out] == []


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        cli.main([command, "--help"])
    assert f"flemme-monai {command}" in "".join(capsys.readouterr())


def test_a_bundle_takes_its_folder_s_name_and_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "liver"
    cli.main(["make", "hsem_swinu", str(folder), "--num_classes", "3", "--network_def#backbone#channels", "[8, 16]"])
    assert f"made liver (hsem_swinu) in {folder}" in capsys.readouterr().out
    train = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    assert train["num_classes"] == 3
    assert train["network_def"]["backbone"]["channels"] == [8, 16]
    assert json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"] == "liver"
    assert "# liver" in (folder / "docs" / "README.md").read_text(encoding="utf-8")


def test_a_bundle_is_made_again_in_its_folder_but_not_over_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["make", "sem_unet", "liver", "--epochs", "3"])
    cli.main(["make", "sem_unet", "liver", "--epochs", "4"])
    assert json.loads(Path("liver/configs/train.json").read_text(encoding="utf-8"))["epochs"] == 4
    before = sorted(tmp_path.rglob("*"))
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("mine", encoding="utf-8")
    Path("file").write_text("mine", encoding="utf-8")
    for words in (["liver", "--name", "other"], ["notes"], ["file"]):
        with pytest.raises(SystemExit):
            cli.main(["make", "sem_unet", *words])
        assert f"{words[0]} is there and no bundle called" in capfd.readouterr().err
    mine = {tmp_path / name for name in ("notes", "notes/a.txt", "file")}
    assert sorted({*tmp_path.rglob("*")} - mine) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["make", "sem_unett", "x"], "there is no pair 'sem_unett'; did you mean sem_unet?"),
        (["make", "vae_unet", "x"], "there is no pair 'vae_unet'; vae takes cnn, vit, swin, vmamba"),
        (["make", "sem_unet", "x", "--num_clases", "3"], "unknown setting 'num_clases'; did you mean num_classes?"),
        (["make", "sem_unet", "my-liver"], "name is 'my-liver'; expected letters, digits and underscores"),
        (["package", "nowhere"], "no bundle 'nowhere'"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["mak"])
    assert end.value.code == 2
    assert "no command 'mak'; did you mean make?" in capsys.readouterr().err
