"""The wheel alone, in an empty folder, makes a bundle that trains and passes its checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--num_classes", "3", "--image_size", "[32,32]", "--epochs", "1", "--num_workers", "0"]
SMALL += ["--network_def#backbone#channels", "[8,16]", "--network_def#backbone#middle_channels", "[16]"]
TRAIN = ["-m", "monai.bundle", "run", "--config_file", "liver/configs/train.json"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "flemme_monai", source / "flemme_monai", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(dist), str(source)], check=True, capture_output=True)
    (found,) = dist.glob("*.whl")
    return found


def call(command: list[str], folder: Path, **variables: str) -> str:
    """What a command prints in a folder, without this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_bundle_is_made_and_trains_with_the_wheel_s_files_alone(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    path = {"PYTHONPATH": str(tmp_path / "site")}
    assert "hsem_swinu" in call([sys.executable, "-m", "flemme_monai", "list"], empty, **path)
    call([sys.executable, "-m", "flemme_monai", "make", "hsem_swinu", "liver", *SMALL], empty, **path)
    assert [entry.name for entry in empty.iterdir()] == ["liver"]
    call([sys.executable, *TRAIN], empty, **path)
    assert (empty / "liver" / "models" / "model.pt").is_file()


def script_of_the_readme() -> str:
    """The Python block of README.md that predicts with a trained bundle."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "create_workflow" in block)
    return found


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_readme_s_script_predicts_with_the_wheel_s_files_and_a_trained_bundle(kind, wheel: Path, tmp_path: Path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    (empty / "bundles").mkdir(parents=True)
    path = {"PYTHONPATH": str(tmp_path / "site")}
    bundle = ROOT / "bundles" / "nuclei_hsem_unet"
    if kind == "folder":
        shutil.copytree(bundle, empty / "bundles" / bundle.name, ignore=shutil.ignore_patterns("output"))
    else:
        call([sys.executable, "-m", "flemme_monai", "package", str(bundle)], empty, **path)
        (packed,) = (empty / "dist").glob("*.zip")
        shutil.unpack_archive(packed, empty / "bundles")
    image = np.full((100, 150), 20, np.uint8)
    image[30:60, 40:80] = 200
    Image.fromarray(image).save(empty / "cells.png")
    script = script_of_the_readme()
    assert len([line for line in script.splitlines() if line.strip()]) <= 10
    check = "assert mask.shape == (1, 100, 150), mask.shape\nassert mask[0, 45, 60] == 1 and mask[0, 5, 5] == 0\n"
    (empty / "script.py").write_text(script + check, encoding="utf-8")
    call([sys.executable, "script.py"], empty, **path)
    assert (empty / "out" / "cells_seg.png").is_file()  # of the file, beside the array


@pytest.mark.slow
def test_the_installed_command_makes_a_bundle_that_trains_and_passes_its_checks(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "current.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    programs = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    where = [str(programs / "python"), "-c", "import flemme_monai; print(flemme_monai.__file__)"]
    assert Path(call(where, empty).strip()).is_relative_to(site)
    command = str(programs / "flemme-monai")
    call([command, "make", "hsem_swinu", "liver", *SMALL], empty)
    call([str(programs / "python"), *TRAIN], empty)
    assert (empty / "liver" / "models" / "model.pt").is_file()
    report = call([command, "check", "liver", "--jobs", "1"], empty)
    assert "0 failed" in report
    assert "no models" not in report  # its own weights
    call([command, "package", "liver"], empty)
    assert [path.suffix for path in sorted((empty / "dist").iterdir())] == [".zip", ".sha256"]
