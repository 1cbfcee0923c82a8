"""What the command refuses before it serves anything, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flemme_monai import cli
from flemme_monai.commands import demo


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        cli.main(["demo"])
    assert end.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert 'gradio is not installed, which the page needs: pip install "flemme-monai[demo]"' in line


def test_a_folder_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: name)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        demo.main(["--dataset_dir", str(tmp_path / "nowhere")])


def test_a_bound_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match="seconds is 0"):
        demo.main(["--max_seconds", "0"])


def test_it_listens_where_only_this_machine_sees_it() -> None:
    assert demo.parser().parse_args([]).address == "127.0.0.1"
