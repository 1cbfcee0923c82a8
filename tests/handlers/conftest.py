"""Fixtures of the handlers' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Build a `Run` in the test's folder or a named one."""

    def make(folder: Path = tmp_path, **options: Any) -> Run:
        return Run(folder, **options)

    return make
