"""The additions that CONTRIBUTING.md shows are what they say; their bundles are made, train and pass their checks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = [sys.executable, "-c"]
MAKE_AND_TRAIN = """
import json, sys
from monai.bundle import run
from flemme_monai.cli import main
for pair, settings in json.loads(sys.argv[1]).items():
    main(["make", pair, pair, *settings])
    run(config_file=f"{pair}/configs/train.json")
"""
SMALL = ["--image_size", "[32,32]", "--epochs", "1", "--num_workers", "0"]
NARROW = ["--network_def#backbone#channels", "[8,16]", "--network_def#backbone#middle_channels", "[16]"]
BUNDLES = {  # a part of the page, and a bundle of what it adds
    "An encoder family": ("hsem_convformeru", [*SMALL, *NARROW]),
    "An architecture": ("msem_unet", [*SMALL, *NARROW]),
    "A network from elsewhere": ("hsem_basicunet", [*SMALL, "--network_def#backbone#features", "[4,4,8,8,12,4]"]),
}


def add(part: str, site: Path) -> list[str]:
    """Do what a part of the page says to a copy of the package; what was written to."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {part}.*?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    touched = []
    for where, code in re.findall(r"([^\n]+):\n\n```python\n(.*?)```", text, re.DOTALL):
        table = re.match(r"A row of `(\w+)`", where)
        name = "flemme_monai/registry.py" if table else re.findall(r"`(flemme_monai/[\w/]+\.py)`", where)[-1]
        file = site / name
        content = file.read_text(encoding="utf-8") if file.exists() else ""
        if table:
            begin = re.compile(rf"^({table[1]}: .* = _table\()(?:\n|(?=\)))", re.MULTILINE)
            content, count = begin.subn(lambda found, code=code: f"{found[1]}\n{code}", content)
            assert count == 1
        else:
            assert bool(content) == ("at the end of" in where)
            content = f"{content}\n\n{code}" if content else code
        file.write_text(content, encoding="utf-8")
        touched.append(name)
    return touched


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a copy of the package."""
    copy = tmp_path / "site"
    shutil.copytree(ROOT / "flemme_monai", copy / "flemme_monai", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def call(command: list[str], folder: Path, site: Path) -> str:
    """What a command prints in a folder, with the copy of the package."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_an_addition_touches_what_its_title_says(site: Path) -> None:
    registry = "flemme_monai/registry.py"
    touched = {part: add(part, site) for part in BUNDLES}
    assert touched["An encoder family"] == ["flemme_monai/backbones/convformer.py", registry]
    assert touched["An architecture"] == [
        "flemme_monai/architectures/msem.py",
        "flemme_monai/recipes/segmentation.py",
        registry,
    ]
    assert touched["A network from elsewhere"] == ["flemme_monai/backbones/basic_unet.py", registry]


def test_bundles_of_the_additions_are_made_and_train(site: Path, tmp_path: Path) -> None:
    for part in BUNDLES:
        add(part, site)
    call([*RUN, MAKE_AND_TRAIN, json.dumps(dict(BUNDLES.values()))], tmp_path / "mine", site)
    for pair, _ in BUNDLES.values():
        assert (tmp_path / "mine" / pair / "models" / "model.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("part", BUNDLES)
def test_a_bundle_of_an_addition_passes_its_checks(part: str, site: Path, tmp_path: Path) -> None:
    add(part, site)
    pair, settings = BUNDLES[part]
    program = [sys.executable, "-m", "flemme_monai"]
    call([*program, "make", pair, "mine", *settings], tmp_path / "empty", site)
    assert "0 failed" in call([*program, "check", "mine", "--jobs", "1"], tmp_path / "empty", site)
