"""Killed trainings lose at most an epoch and end as others do; ``tools/kill_training.py`` is the long form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flemme_monai.commands.run_files import damage, differences

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without fork")
@pytest.mark.parametrize(
    ("pairs", "kills"), [("sem_unet", 5), pytest.param("sem_unet,ddpm_unet", 12, marks=pytest.mark.slow)]
)
def test_a_killed_training_ends_as_one_that_was_not(pairs: str, kills: int) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "kill_training.py")]
    options = ["--kills", str(kills), "--pairs", pairs, "--epochs", "4"]
    done = subprocess.run([*tool, *options], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"{kills} kills, 0 faults"
    assert len([line for line in lines if line.endswith("| whole")]) == kills


def training(folder: Path) -> Path:
    """What a training leaves."""
    folder.mkdir()
    rows = [{"epoch": 1, "loss": 0.5, "seconds": 1.0}]
    state = {"network": {"w": torch.ones(2, 2)}, "history": {"rows": rows}, "trainer": {"epoch": 1}}
    torch.save(state, folder / "last.pt")
    (folder / "split.json").write_text(json.dumps({"train": ["a"]}), encoding="utf-8")
    (folder / "metrics.csv").write_text("epoch,loss,seconds\n1,0.5,1.0\n", encoding="utf-8")
    return folder


def test_what_no_two_runs_share_is_no_difference(tmp_path: Path) -> None:
    one, other = training(tmp_path / "one"), training(tmp_path / "other")
    (other / "metrics.csv").write_text("epoch,loss,seconds\n1,0.5,2.0\n", encoding="utf-8")
    (other / "events.1").touch()
    assert damage(one) == damage(other) == differences(one, other) == []


def weights(folder: Path) -> None:
    state = torch.load(folder / "last.pt", weights_only=True)
    state["network"]["w"][1, 1] += 1e-6
    torch.save(state, folder / "last.pt")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (weights, "last.pt differs in /network/w"),
        (
            lambda folder: (folder / "metrics.csv").write_text("epoch,loss\n1,0.6\n", encoding="utf-8"),
            "metrics.csv differs in /0/loss",
        ),
        (
            lambda folder: (folder / "split.json").write_text('{"train": ["b"]}', encoding="utf-8"),
            "split.json differs in /train/0",
        ),
        (lambda folder: (folder / ".part_1_last.pt").touch(), "only one has .part_1_last.pt"),
        (lambda folder: (folder / "metrics.csv").unlink(), "only one has metrics.csv"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change, found: str) -> None:
    one, other = training(tmp_path / "one"), training(tmp_path / "other")
    change(other)
    assert differences(one, other) == [found]


@pytest.mark.parametrize("name", ["last.pt", "split.json", "metrics.csv"])
def test_half_a_file_is_damage(tmp_path: Path, name: str) -> None:
    folder = training(tmp_path / "one")
    path = folder / name
    path.write_bytes(path.read_bytes()[:-5])
    assert [fault.partition(" ")[0] for fault in damage(folder)] == [name]
