"""The command ``flemme-monai``, also ``python -m flemme_monai``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any


def run(component: Callable[..., Any] | dict[str, Callable[..., Any]], argv: Sequence[str] | None = None) -> None:
    """Call a function, or one of several by its name, with the words of a command line; an error is one line.

    Args:
        component: the function, or functions by name.
        argv: the words; those of this program by default.
    """
    import fire

    from .utils import one_line_errors

    words = list(sys.argv[1:] if argv is None else argv)
    if "--" not in words and {"-h", "--help"} & set(words):  # which a function of any settings would take for one
        words = [word for word in words if word not in ("-h", "--help")] + ["--", "--help"]
    with one_line_errors():
        fire.Fire(component, words, name="flemme-monai" if isinstance(component, dict) else None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that is named first."""
    from .commands.make import list_pairs, make

    run({"list": list_pairs, "make": make}, argv)
