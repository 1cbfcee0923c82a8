"""Errors as one line on the command line."""

from __future__ import annotations

import inspect
import os
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate
from types import TracebackType

PLAIN = (ValueError, OSError)
_FAILED = re.compile(r"Failed to instantiate component '(?P<target>[\w.]+)' with keywords: (?P<keywords>[\w,]*)")
_NOT_FOUND = "Cannot locate class or function path"


def on_command_line() -> bool:
    """Whether this process is ``python -m monai.bundle run``."""
    return Path(sys.argv[0]).parts[-3:-1] == ("monai", "bundle") and sys.argv[1:2] == ["run"]


def first_cause(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    """The first error of some kinds in a chain of "the above exception was the direct cause of", None without one.

    Args:
        error: the last error of the chain.
        kinds: kinds of errors.

    Returns:
        The error.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kinds):
        cause = cause.__cause__
    return cause


def plain_line(error: BaseException) -> str | None:
    """What an error tells the user, in one line; None where it is no user's error.

    Args:
        error: an error as it leaves ``monai.bundle``'s run.

    Returns:
        The line.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PLAIN):
            return " ".join(f"{type(cause).__name__}: {cause}".splitlines())
        if isinstance(cause, ModuleNotFoundError) and str(cause).startswith(_NOT_FOUND):
            return f"ValueError: _target_ {str(cause).split(': ')[1].rstrip('.')} is no class or function"
        line = _wrong_setting(cause)
        if line is not None:
            return line
        cause = cause.__cause__
    return None


def plain_errors() -> None:
    """End ``python -m monai.bundle run`` with the cause of an error in one line instead of a trace through the config.

    Only errors that speak to the user are shortened (wrong values and settings, missing or unwritable files), only on
    the command line, and not where the environment variable ``FLEMME_TRACEBACK`` is set. The exit code stays 1.
    """
    if not on_command_line() or os.environ.get("FLEMME_TRACEBACK"):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = plain_line(error)
        if line is None:
            sys.__excepthook__(kind, error, trace)
        else:
            print(line, file=sys.stderr)

    sys.excepthook = hook


def did_you_mean(name: str, known: list[str]) -> str:
    """A question with the known name most like a wrong one, or else all known names."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"


def _wrong_setting(error: BaseException) -> str | None:
    """The line for a component that the config gives a setting it has not, or not one it needs."""
    failed = _FAILED.match(str(error))
    target = locate(failed["target"]) if failed else None
    if failed is None or not callable(target):
        return None
    given = [keyword for keyword in failed["keywords"].split(",") if keyword]
    try:
        signature = inspect.signature(target)
        signature.bind(**dict.fromkeys(given))
    except ValueError:  # built in, without a signature
        return None
    except TypeError as reason:
        known = [name for name in signature.parameters if name != "self"]
        wrong = next((keyword for keyword in given if keyword not in known), None)
        if wrong is None:
            return f"ValueError: {failed['target']}: {reason}"
        return f"ValueError: {failed['target']} has no setting {wrong!r}; {did_you_mean(wrong, known)}"
    return None
