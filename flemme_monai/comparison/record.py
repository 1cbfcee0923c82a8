"""Where and with what a run was made: versions, machine, commit, command, and the split of its data."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..commands.measure import machine
from ..commands.places import PACKAGE_PARENT
from ..data.split_record import SPLIT_FILE

PACKAGES = ("torch", "monai", "numpy", "scipy", "pytorch-ignite")


def environment_record() -> dict[str, Any]:
    """The versions, the machine and the commit that a run is made with."""
    from .. import __version__

    versions: dict[str, str] = {"flemme_monai": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "machine": machine(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "commit": commit(),
    }


def commit(folder: Path = PACKAGE_PARENT) -> str | None:
    """The commit of a checkout, with a "+" where files differ from it; None outside of one."""
    if not (folder / ".git").exists():
        return None
    try:
        words = [_git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--untracked-files=no")]
    except (OSError, subprocess.CalledProcessError):
        return None
    return words[0] + ("+" if words[1] else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def split_record(bundle: Path) -> dict[str, Any] | None:
    """The names of a training's cases by part, and the fingerprint of its data; None where it kept none."""
    path = bundle / "models" / SPLIT_FILE
    if not path.is_file():
        return None
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: content[name] for name in ("settings", "data_set", "train", "val", "test") if name in content}
