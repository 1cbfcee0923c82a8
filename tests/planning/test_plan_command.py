"""``flemme-monai plan``: the bundle, the plan and the report in one folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_fingerprint import volumes

from flemme_monai.cli import main
from flemme_monai.commands import plan as plan_command


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["plan", *words])
    assert end.value.code == 0


def test_a_bundle_is_planned_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "liver"
    data = str(volumes(tmp_path / "data", low=-1000, high=1000))
    words = ["--dataset_dir", data, "--pair", "sem_unet", "--memory", "0.2", "--output", str(folder)]
    run(*words)
    assert f"made liver (sem_unet) in {folder}" in capsys.readouterr().out
    plan = json.loads((folder / "plan" / "plan.json").read_text(encoding="utf-8"))
    train = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    assert plan["memory_gib"]["used"] <= 0.2
    for name, entry in plan["settings"].items():
        node = (
            train | json.loads((folder / "configs" / "evaluate.json").read_text(encoding="utf-8"))
            if "#" not in name
            else train
        )
        for level in name.split("#"):
            node = node[level]
        assert node == entry["value"] or str(node).startswith("$@trained.get"), name
        assert entry["reason"]
    report = (folder / "plan" / "report.md").read_text(encoding="utf-8")
    assert "3 cases, ct, 1 channel" in report
    assert "| class 2 | 3 | 12 |" in report
    assert (folder / "plan" / "report.png").read_bytes()[:4] == b"\x89PNG"
    run(*words[:-2], "--output", str(folder), "--spacing", "2", "2", "2")  # planned again in its own folder
    assert json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))["spacing"] == [2, 2, 2]
    run(*words, "--check", str(folder / "plan" / "plan.json"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["plan", "--dataset_dir", str(tmp_path), "--output", str(other)])
    assert end.value.code == 1
    assert "is there and no bundle called 'other'" in "".join(capfd.readouterr())
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("wrong", "said"), [(["--pair", "ae_unet"], "pair is 'ae_unet'"), (["--memory", "0"], r"memory is 0\.0")]
)
def test_what_no_data_set_can_be_planned_for_is_refused_before_one_is_read(tmp_path: Path, wrong, said) -> None:
    with pytest.raises(ValueError, match=said):
        plan_command.main(["--dataset_dir", str(tmp_path / "none"), "--output", str(tmp_path / "out"), *wrong])
    assert not (tmp_path / "out").exists()
