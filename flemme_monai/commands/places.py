"""Where bundles are."""

from __future__ import annotations

from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parents[2]  # the checkout, or what the package is installed in
_CHECKOUT = (PACKAGE_PARENT / "pyproject.toml").is_file()
BUNDLES = PACKAGE_PARENT / "bundles" if _CHECKOUT else Path("bundles")
