"""Errors as one line on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

PLAIN = (ValueError, FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError)


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of "the above exception was the direct cause of"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def plain_errors() -> None:
    """End ``python -m monai.bundle run`` with the cause of an error in one line instead of a trace through the config.

    Only errors that speak to the user are shortened (wrong values, missing or unwritable files), only on the command
    line, and not where the environment variable ``FLEMME_TRACEBACK`` is set. The exit code stays 1.
    """
    if Path(sys.argv[0]).parts[-3:-1] != ("monai", "bundle") or os.environ.get("FLEMME_TRACEBACK"):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = root_cause(error)
        if isinstance(cause, PLAIN):
            print(f"{type(cause).__name__}: {cause}", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook
