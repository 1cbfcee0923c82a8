"""Write files so that a kill never leaves half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well and not before.

    Args:
        path: the file to write, its folder must exist.
    """
    path = Path(path)
    part = path.with_name(f".part_{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def writable_dir(path: str | os.PathLike) -> Path:
    """Make a folder where needed and prove that a file can be written in it.

    Args:
        path: the folder.

    Returns:
        The folder as a path.

    Raises:
        ValueError: the folder cannot be made or written in.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{path} is not a writable folder ({error.strerror}): name another output folder") from error
    return path
