"""Where bundles are, and processes in which this package is found."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parents[2]  # the checkout, or what the package is installed in
_CHECKOUT = (PACKAGE_PARENT / "pyproject.toml").is_file()
BUNDLES = PACKAGE_PARENT / "bundles" if _CHECKOUT else Path("bundles")


def environment(**more: str) -> dict[str, str]:
    """The environment of another process that imports this package; ``more`` are further variables."""
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}
