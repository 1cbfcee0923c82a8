"""Write files so that neither a kill nor a full disk ever leaves half of one."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any, TextIO

from .command_line import path_as_typed

PART = ".part_"
LEFTOVER_S = 600.0  # a process of another machine may be writing here
_PART_OF = re.compile(rf"{re.escape(PART)}([0-9a-f]+)_(\d+)_")
# what PyTorch's writer of checkpoints says when the system took less than it was given, or no file at all
_CHECKPOINT_WRITER = re.compile(
    r"unexpected pos|file write failed|PytorchStreamWriter failed|inline_container|iostream error"
    r"|^Parent directory .* does not exist"
)
_FORBIDDEN = [os.strerror(code) for code in (errno.EACCES, errno.EPERM, errno.EROFS)]
_REASON = re.compile(r"strerror: (.+)")


def user_path(path: Any) -> Path:
    """A path as the user means it: ``~`` is the home folder, also where no shell has expanded it.

    Args:
        path: a path, or the number or list that the command line's parser made of one such as ``20240102``.
    """
    return Path(path if isinstance(path, Path) else path_as_typed(path)).expanduser()


def path_in(folder: Any, name: str) -> str:
    """The path of a file or folder inside a folder, which is as :func:`user_path` takes it."""
    return f"{user_path(folder)}/{name}"


def paths_in(folders: Any, name: str) -> str | list[str]:
    """The path of a file inside a folder, as :func:`path_in`, or of that file inside each of several.

    Args:
        folders: a folder; or a list of folders, or a pattern of them such as ``models/fold_*``, unless a folder is
            called so.
        name: of the file.

    Returns:
        The path, or several.

    Raises:
        FileNotFoundError: If no folder fits the pattern.
        ValueError: If a folder is named twice.
    """
    if isinstance(folders, Path) or user_path(folders).exists():
        return path_in(folders, name)
    if isinstance(folders, str):
        if not any(letter in folders for letter in "*?"):
            return path_in(folders, name)
        found = sorted(glob(str(user_path(folders))))
        if not found:
            raise FileNotFoundError(f"no folder fits {folders}; expected some with {name}: name them one by one")
        folders = found
    if not isinstance(folders, list | tuple):
        return path_in(folders, name)
    paths = [path_in(str(folder), name) for folder in folders]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise ValueError(f"{Path(twice).parent} is named twice; expected different folders: name each once")
    return paths[0] if len(paths) == 1 else paths


def each_path(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    """One path, or each of several, as :func:`paths_in` gives them."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well and not before.

    Args:
        path: the file to write, its folder must exist.

    Raises:
        OSError: If the file cannot be written; names it and the reason.
    """
    path = user_path(path)
    part = path.with_name(_part_name(path.name))
    try:
        with naming(path):
            yield part
            os.replace(part, path)
    finally:
        with suppress(OSError):  # of a folder that has become read-only: the error above says so
            part.unlink()


def _part_name(name: str) -> str:
    """The temporary name of a file, which says whose it is."""
    return f"{PART}{_host()}_{os.getpid()}_{name}"


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"


def _remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of processes that were killed while they wrote."""
    for part in folder.glob(f"{PART}*"):
        with suppress(OSError):
            if _is_abandoned(part.name) or part.stat().st_mtime < time.time() - LEFTOVER_S:
                part.unlink()


def _is_abandoned(name: str) -> bool:
    """Whether a temporary file is of a process of this machine that is no more."""
    found = _PART_OF.match(name)
    if found is None or found[1] != _host() or sys.platform == "win32":  # where signal 0 is an interrupt
        return False
    try:
        os.kill(int(found[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return False


def write_through(path: str | os.PathLike) -> None:
    """Have a file's content on the disk, so that a power cut after it has got its name leaves no empty file."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Name the file in the error of a write that failed.

    Args:
        path: the file that the block writes.

    Raises:
        OSError: If the block raises one; with the path, the reason and what to do.
    """
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and Path(os.fsdecode(error.filename)).parent != Path(path).parent
        if error.strerror is None or elsewhere:  # a writer's own words, or another file's
            raise
        raise OSError(_not_written(path, error.strerror)) from error
    except RuntimeError as error:
        if not _CHECKPOINT_WRITER.search(str(error)):
            raise
        found = _REASON.search(str(error))
        reason = found[1] if found else "the disk is full or a limit of size is reached"
        raise OSError(_not_written(path, reason)) from error


def _not_written(path: str | os.PathLike, reason: str) -> str:
    folder = Path(path).parent
    if not folder.is_dir():
        return f"{path} cannot be written ({folder} is no longer there): put the folder back, or name another"
    mend = "make the folder writable" if reason in _FORBIDDEN else "make room"
    return f"{path} cannot be written ({reason}): {mend}, or name another folder; what was there before is whole"


@contextmanager
def text_file(path: str | os.PathLike) -> Iterator[TextIO]:
    """Replace a text file, in UTF-8 on every platform; names of files that are no text keep their bytes.

    Args:
        path: the file to write, its folder must exist.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def writable_dir(path: str | os.PathLike) -> Path:
    """Make a folder where needed and prove that a file can be written in it; halves that a killed run left go.

    Args:
        path: the folder.

    Returns:
        The folder as a path, ``~`` expanded.

    Raises:
        ValueError: If the folder cannot be made or written in.
    """
    path = user_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / _part_name("probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(_not_writable(path, error.strerror)) from error
    _remove_leftovers(path)
    return path


def refuse_unwritable(path: str | os.PathLike) -> None:
    """Refuse a folder that cannot be made or written in, as far as the system says so without a trial.

    Args:
        path: the folder.

    Raises:
        ValueError: If it cannot.
    """
    path = user_path(path)
    try:
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise ValueError(_not_writable(path, error.strerror)) from error
    if not there.is_dir():
        raise ValueError(_not_writable(path, f"{there} is a file"))
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ValueError(_not_writable(path, f"{there} is read-only"))


def _not_writable(path: Path, reason: str | None) -> str:
    return f"{path} is not a writable folder ({reason}): make it writable, or name another folder"
