"""Find the folder of a bundle."""

from __future__ import annotations

import json
from pathlib import Path


def find_bundle_root(name: str) -> str:
    """The folder of a bundle, seen from the current folder: the bundle itself, or one below it or ``bundles``.

    Another bundle's folder is never taken for it. Where there is none, its outputs go to ``./<name>``, apart from any
    other bundle's; ``--bundle_root`` names it from elsewhere.

    Args:
        name: the name in the bundle's ``configs/metadata.json``.

    Returns:
        the path of the folder.
    """
    for folder in (Path("."), Path("bundles") / name, Path(name)):
        metadata = folder / "configs" / "metadata.json"
        if metadata.is_file() and json.loads(metadata.read_text(encoding="utf-8")).get("name") == name:
            return str(folder)
    return name
