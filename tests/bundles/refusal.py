"""Runs bundles that are given bad input, and returns the line they end with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, run

from flemme_monai.commands.bundle_files import workflows
from flemme_monai.utils.errors import one_line_error

ROOT = Path(__file__).resolve().parents[2]


def save_weights(bundle: Path, folder: Path, network: str = "network_def", **settings) -> None:
    """Save random weights of a bundle's network as ``model.pt``."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser.update(settings)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(parser.get_parsed_content(network).state_dict(), folder / "model.pt")


def earlier_run(bundle: Path, folder: Path) -> dict[str, Path]:
    """The weights and outputs of earlier runs below a folder, in the folders of the next one."""
    folders = {"ckpt_dir": folder / "ckpt", "output_dir": folder / "out"}
    shutil.copytree(bundle / "models", folders["ckpt_dir"])
    (folders["ckpt_dir"] / "last.pt").write_text("an earlier run", encoding="utf-8")
    folders["output_dir"].mkdir()
    for name in ("metrics.csv", "curves.png", "cases.csv", "summary.csv", "0_seg.png", "0_seg_overlay.png"):
        (folders["output_dir"] / name).write_text("an earlier run", encoding="utf-8")
    return folders


def refused(bundle: Path, workflow: str, results: dict[str, Path], **settings) -> str:
    """The line that a workflow ends with, after a look whether the earlier runs' files are as they were."""
    before = contents(results)
    files = [str(bundle / "configs" / f"{name}.json") for name in workflows(bundle)[workflow]]
    folders = {name: str(path) for name, path in results.items()}
    with pytest.raises(Exception) as error:  # noqa: PT011
        run(config_file=files, **{**folders, **settings})
    after = contents(results)
    assert before == {path: after[path] for path in before}
    line = one_line_error(error.value)
    assert line is not None, error.value
    assert "\n" not in line
    return line


def contents(results: dict[str, Path]) -> dict[Path, bytes]:
    files = (path for folder in results.values() for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def command(bundle: Path, config: str, *arguments: str) -> subprocess.CompletedProcess:
    """``monai.bundle run`` as a user runs it, inside the bundle."""
    line = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"configs/{config}.json", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=bundle, env=environment, capture_output=True, text=True, timeout=300, check=False)
