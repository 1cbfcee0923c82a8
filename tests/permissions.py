"""Lets the permissions of files bind a process of root too."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_VERSION = 0x20080522  # of Linux's capabilities, two words of 32 bits
_OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Word(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def permissions_bind() -> Iterator[None]:
    """Give up, for a while and in this thread and those that it starts, what lets root pass over permissions."""
    if not hasattr(os, "geteuid"):
        pytest.skip("a platform without permissions of POSIX")
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root, on a platform without capabilities")
    before = _effective()
    _set_effective(before & ~_OVERRIDES)
    try:
        yield
    finally:
        _set_effective(before)


def _effective() -> int:
    words = (_Word * 2)()
    _call("capget", words)
    return words[0].effective


def _set_effective(value: int) -> None:
    words = (_Word * 2)()
    _call("capget", words)
    words[0].effective = value
    _call("capset", words)


def _call(name: str, words: ctypes.Array) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(ctypes.byref(_Header(_VERSION, 0)), words) != 0:
        pytest.skip(f"{name}: {os.strerror(ctypes.get_errno())}")
