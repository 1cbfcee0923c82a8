"""Remove the cases that trainings keep on disk with ``--cache disk``.

flemme-monai clean-cache bundles/hsem_unet /fast/disk/cache --unused_for 30
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..data.disk_cache import SUFFIX, TAG_FILE
from ..utils.files import user_path
from .places import BUNDLES

_DAY = 24 * 60 * 60


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Clean the folders that the command line names."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", help="bundles, or folders given as cache_dir; all of bundles/ by default")
    parser.add_argument("--unused_for", type=float, metavar="DAYS", help="keep what was read or written since")
    args = parser.parse_args(argv)
    caches = [_cache(user_path(folder)) for folder in args.folders]
    for cache in caches if args.folders else sorted(tag.parent for tag in BUNDLES.glob(f"*/cache/{TAG_FILE}")):
        count, size = clean(cache, args.unused_for)
        print(f"{cache}: removed {count} files, {size / 1e9:.3g} GB")
    return 0


def _cache(folder: Path) -> Path:
    """The cache of a bundle's folder, or the folder itself."""
    found = [cache for cache in (folder, folder / "cache") if (cache / TAG_FILE).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder} has no {TAG_FILE}, nor has {folder / 'cache'}; expected a bundle that was trained with --cache "
            "disk, or the cache_dir of such a training: name one"
        )
    return found[0]


def clean(cache: Path, unused_for: float | None = None) -> tuple[int, int]:
    """Remove cases, and what killed processes have left of some; the folder too where nothing else is in it.

    A training that runs makes a case again that it misses.

    Args:
        cache: the folder.
        unused_for: days; cases that were read or written since stay. Without it none stays.

    Returns:
        The number of files removed, and their bytes.
    """
    count = size = 0
    for path in cache.glob(f"*{SUFFIX}"):  # those half-written too, whose names begin with a dot
        with suppress(FileNotFoundError):
            status = path.stat()
            used = max(status.st_atime, status.st_mtime)
            if unused_for is None or used < time.time() - unused_for * _DAY:
                path.unlink()
                count, size = count + 1, size + status.st_size
    if {path.name for path in cache.iterdir()} == {TAG_FILE}:
        shutil.rmtree(cache)
    return count, size
