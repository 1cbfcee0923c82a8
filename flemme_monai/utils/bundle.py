"""Find the folder of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG_SUFFIXES = (".json", ".yaml", ".yml")


def find_config(folder: Path, name: str) -> Path | None:
    """The config of that name in a folder, in JSON or in YAML; None without one."""
    return next((path for suffix in CONFIG_SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)


def _metadata(folder: Path) -> Any:
    """The content of a bundle's metadata file; None without one."""
    path = find_config(folder / "configs", "metadata")
    if path is None:
        return None
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    return yaml.safe_load(text)


def find_bundle_root(name: str) -> str:
    """The folder of a bundle, seen from the current folder: the bundle itself, or one below it or ``bundles``.

    Another bundle's folder is never taken for it. Where there is none, its outputs go to ``./<name>``, apart from any
    other bundle's; ``--bundle_root`` names it from elsewhere.

    Args:
        name: the name in the bundle's ``configs/metadata.json``, or ``.yaml``.

    Returns:
        the path of the folder.
    """
    for folder in (Path("."), Path("bundles") / name, Path(name)):
        metadata = _metadata(folder)
        if isinstance(metadata, dict) and metadata.get("name") == name:
            return str(folder)
    return name
