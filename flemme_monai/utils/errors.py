"""Errors as one line on the command line."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from types import TracebackType
from typing import NoReturn

import torch

USER_ERRORS = (ValueError, OSError)
TRACE = "FLEMME_TRACEBACK"
INTERRUPTED = 130  # what a shell calls the end by Ctrl-C
_FAILED = re.compile(r"Failed to instantiate component '(?P<target>[\w.]+)' with keywords: (?P<keywords>[\w,]*)")
_PLACE = re.compile(r"^\[enforce fail at [^\]]*\] ?\.? ?")
_NO_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
_NOT_FOUND = "Cannot locate class or function path"
_PEER = re.compile(r"Connection (closed|reset) by peer|gloo/transport|remote process exited")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    return next((cause for cause in _causes(error) if isinstance(cause, kinds)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, also where that ended an import that a config asked for."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.value if isinstance(cause, ErrorDuringImport) else cause.__cause__


def one_line_error(error: BaseException) -> str | None:
    """An error of the user's as one line; None for any other error.

    Args:
        error: an error as it leaves ``monai.bundle``'s run.

    Returns:
        The line.
    """
    for cause in _causes(error):
        if isinstance(cause, KeyboardInterrupt):
            return "KeyboardInterrupt: stopped from the keyboard; --resume True goes on after a training's last epoch"
        if isinstance(cause, BrokenPipeError) and cause.filename is None:
            return "BrokenPipeError: what read the output of this program has ended: send the output to a file instead"
        if isinstance(cause, OSError) and cause.errno in _FULL and cause.filename is None:  # no file has named itself
            return f"OSError: the output of this program cannot be written ({cause.strerror}): send it to another disk"
        if isinstance(cause, RuntimeError) and _PEER.search(str(cause)):
            return "RuntimeError: another process of this distributed run has ended: its own error says why"
        if _is_memory(cause):
            reason = _PLACE.sub("", str(cause)).split(". ")[0].strip(" .") or "no room for another array"
            line = f"MemoryError: {reason}: lower batch_size, image_size or the network's channels, or free memory"
            return " ".join(line.splitlines())
        if isinstance(cause, USER_ERRORS):
            return " ".join(f"{type(cause).__name__}: {cause}".splitlines())
        if isinstance(cause, ModuleNotFoundError) and str(cause).startswith(_NOT_FOUND):
            return f"ValueError: _target_ {str(cause).split(': ')[1].rstrip('.')} is no class or function"
        wrong = _wrong_setting(cause)
        if wrong is not None:
            return wrong
    return None


def install_one_line_errors() -> None:
    """Make ``python -m monai.bundle run`` end with the cause of an error in one line, not a trace through the config.

    Only errors that speak to the user are shortened (wrong values and settings, missing or unwritable files, no room
    on a disk or in memory, an interrupt), only on the command line, and not where the environment variable
    ``FLEMME_TRACEBACK`` is set. The exit code stays 1, and 130 after an interrupt.
    """
    if not on_command_line():
        return
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a case's name may not exist in the terminal's encoding
        stream.reconfigure(errors="backslashreplace")
    if os.environ.get(TRACE):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = one_line_error(error)
        if line is None:
            sys.__excepthook__(kind, error, trace)
        else:
            _end(error, line)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        if error is None or one_line_error(error) is None:  # else the thread that waits for this one raises it again
            threading.__excepthook__(args)

    sys.excepthook = hook
    threading.excepthook = thread_hook
    logging.raiseExceptions = False  # a log line for a reader that has ended
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # it logs an error before the hook prints it


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End a program's block with an error that speaks to the user in one line: exit code 1, after an interrupt 130."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        line = one_line_error(error)
        if line is None or os.environ.get(TRACE):
            raise
        _end(error, line)


def _end(error: BaseException, line: str) -> NoReturn:
    """Print the line and end the program."""
    # in a distributed run PyTorch holds sys.stderr back until its hook returns, which it does not
    print(f"{line}; {TRACE}=1 shows the trace", file=sys.__stderr__, flush=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # its reader has ended, or the disk that it goes to is full: nothing more for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(INTERRUPTED if first_cause(error, KeyboardInterrupt) else 1)


def _is_memory(error: BaseException) -> bool:
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or (type(error) is RuntimeError and bool(_NO_MEMORY.search(str(error))))


def did_you_mean(name: str, known: list[str]) -> str:
    """A question with the known name most like a wrong one, or else all known names."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"


def unknown_setting(target: str, wrong: str, known: list[str]) -> str:
    """The message on a setting that a class or function does not take, with the one most like it."""
    return f"{target} has no setting {wrong!r}; {did_you_mean(wrong, known)}"


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
        return f"ValueError: {unknown_setting(failed['target'], wrong, known)}"
    return None
