"""C code of this package, compiled for the processor at hand when it is first needed, and kept for the next time."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from .backends import announced

OPTIMISED = ("-O3", "-march=native", "-mprefer-vector-width=512")
PORTABLE = ("-O3",)  # for compilers that do not know the former
NEEDED = ("-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-shared")


def cache_folder() -> Path:
    """Where compiled code is kept: ``flemme_monai`` in the user's folder for caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flemme_monai"


def library(source: Path) -> ctypes.CDLL:
    """The functions of a C file.

    The compiler is ``cc``, or what the environment's ``CC`` says, with its ``CFLAGS`` after ours. What it makes is kept
    by the source, its options and what the compiler says of the processor, so that a folder may serve several machines.

    Args:
        source: the file.

    Raises:
        OSError: If there is no compiler, it fails, or there is no folder to write to.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    error: OSError | None = None
    for options in (OPTIMISED, PORTABLE):
        command = [*compiler, *options, *NEEDED, *shlex.split(os.environ.get("CFLAGS", ""))]
        try:
            return ctypes.CDLL(str(_built(source, command)))
        except OSError as failed:
            error = error or failed
    assert error is not None, "every attempt failed"
    raise error


def _built(source: Path, command: list[str]) -> Path:
    target = _run([*command, "-dM", "-E", "-x", "c", os.devnull])  # macros: the compiler and the instruction set
    key = hashlib.sha256("\0".join([source.read_text(encoding="utf-8"), *command, target]).encode()).hexdigest()[:20]
    path = cache_folder() / f"{source.stem}-{key}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            announced(f"compiling {source.name} for this processor, once"),
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
        ):
            part = Path(folder) / path.name
            _run([*command, str(source), "-o", str(part)])
            part.replace(path)  # other processes see a whole file or none
    return path


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a message"])[-1]
        raise OSError(f"{command[0]} failed with {done.returncode}: {last}")
    return done.stdout
