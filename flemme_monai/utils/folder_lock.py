"""Keep a folder for one training at a time, by a lock of the operating system that ends with its process."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .files import refuse_unwritable, user_path

LOCK_FILE = ".run.lock"
PATIENCE_S = 1.0  # another run that only looks whether a folder is free holds the lock for a moment
_LOCKED_BYTE = 1 << 30  # on Windows a locked byte cannot be read: one that the text never reaches
_logger = logging.getLogger(__name__)


@dataclass
class _Held:
    file: int
    pid: int
    owner: int


_held: dict[Path, _Held] = {}


def refuse_used_folders(*folders: str | os.PathLike) -> None:
    """Refuse folders that another process trains in or that are read-only, before any time is spent on data.

    Nothing is written. Only the first process of a distributed run looks.

    Args:
        folders: folders that a training writes; those that are not there yet are free.

    Raises:
        ValueError: If another process holds one of them, or one cannot be written; names it.
    """
    if int(os.environ.get("RANK", 0)) != 0:
        return
    for folder in map(_resolved, folders):
        refuse_unwritable(folder)
        if folder in _held and _held[folder].pid == os.getpid():
            continue
        try:
            file = os.open(folder / LOCK_FILE, os.O_RDWR)
        except OSError:  # there is none, or it is not ours to lock, which a training's start says
            continue
        try:
            if not _lock(file):
                raise ValueError(_in_use(folder, file))
        except OSError:
            continue
        finally:
            os.close(file)


def hold_folder(folder: str | os.PathLike, owner: object) -> None:
    """Hold a folder until ``release_folders`` or the end of this process, whichever way it ends.

    A process that holds a folder may train in it again. Where the file system has no locks, that is logged.

    Args:
        folder: a folder that is there and can be written.
        owner: what ``release_folders`` is called with.

    Raises:
        ValueError: If another process holds it; names it.
    """
    folder = _resolved(folder)
    held = _held.get(folder)
    if held is not None and held.pid == os.getpid():
        held.owner = id(owner)
        return
    try:
        file = _locked_file(folder)
    except OSError as error:
        _logger.info("%s cannot be locked (%s): take care that no other run writes it", folder, error.strerror)
        return
    _held[folder] = _Held(file, os.getpid(), id(owner))


def release_folders(owner: object) -> None:
    """Release what ``owner`` holds."""
    for folder in [folder for folder, held in _held.items() if held.owner == id(owner)]:
        _release(folder)


def _locked_file(folder: Path) -> int:
    until = time.monotonic() + PATIENCE_S
    while True:
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _lock(file):
                if os.fstat(file).st_nlink > 0:
                    os.truncate(file, 0)
                    me = {
                        "process": os.getpid(),
                        "host": socket.gethostname(),
                        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
                    }
                    os.write(file, json.dumps(me).encode())
                    return file
            elif time.monotonic() > until:
                raise ValueError(_in_use(folder, file))
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # unlinked by its holder's release, or held: once more
        time.sleep(0.05)


def _lock(file: int) -> bool:
    """Whether the lock was free; it ends with the file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _in_use(folder: Path, file: int) -> str:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        who = json.loads(os.read(file, 1024))
        holder = f"process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        holder = "a process that has not said which"
    return (
        f"{folder} is in use by another run ({holder}): name another --ckpt_dir and --output_dir, or wait for it to end"
        " or stop it"
    )


def _resolved(folder: str | os.PathLike) -> Path:
    return user_path(folder).resolve()


def _release(folder: Path) -> None:
    held = _held.pop(folder)
    if held.pid == os.getpid():
        with suppress(OSError):
            (folder / LOCK_FILE).unlink()
    os.close(held.file)


@atexit.register
def _release_all() -> None:
    for folder in list(_held):
        _release(folder)


def _close_in_child() -> None:
    """A forked worker that outlives a killed run must not keep its lock."""
    for held in _held.values():
        os.close(held.file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
