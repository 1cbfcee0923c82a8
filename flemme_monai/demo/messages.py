"""Errors as a visitor reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..utils.errors import one_line_error

UNEXPECTED = "something went wrong here that the server's log explains; another image or bundle may work"
_logger = logging.getLogger(__name__)


def message(error: BaseException, folders: Iterable[Path] = ()) -> str:
    """One line about an error, without the server's folders; what is no user's error is logged with its trace.

    Args:
        error: what was raised.
        folders: whose paths are left out of the line.
    """
    line = one_line_error(error)
    if line is None:
        _logger.error("a run failed", exc_info=error)
        return UNEXPECTED
    for folder in sorted(map(str, folders), key=len, reverse=True):
        line = line.replace(f"{folder}/", "").replace(folder, "the upload")
    return line.partition(": ")[2] or line
