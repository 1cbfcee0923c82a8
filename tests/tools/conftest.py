"""The command-line programs are importable, and a test may break a bundle of its own."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a bundle without weights and without what runs have left in it."""
    copy = tmp_path / "bundles" / "sem_unet"
    shutil.copytree(ROOT / "bundles" / "sem_unet", copy, ignore=shutil.ignore_patterns("models", "output"))
    return copy
