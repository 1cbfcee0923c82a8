"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images; tests that ask for it are skipped where it is not named."""
    folder = os.environ.get("FLEMME_DATA_DIR")
    if not folder:
        pytest.skip("FLEMME_DATA_DIR is not set: no real images")
    return Path(folder)
