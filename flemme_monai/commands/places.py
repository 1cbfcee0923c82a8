"""Where bundles are, and processes in which this package is found."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGE_PARENT = Path(__file__).resolve().parents[2]  # the checkout, or what the package is installed in
_CHECKOUT = (PACKAGE_PARENT / "pyproject.toml").is_file()
BUNDLES = PACKAGE_PARENT / "bundles" if _CHECKOUT else Path("bundles")


def run_command(configs: Sequence[str | Path], settings: Mapping[str, Any]) -> list[str]:
    """The words that run configs over each other, with settings, in another process."""
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([str(config) for config in configs])]
    return words + [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def environment(**more: str) -> dict[str, str]:
    """The environment of another process that imports this package; ``more`` are further variables."""
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}
