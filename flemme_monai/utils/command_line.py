"""The words of a command line, as typed and as ``fire`` reads them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from .errors import on_command_line

_FLAG = re.compile(r"--|-[a-zA-Z]")
_PATH = re.compile(r"(_(dir|root|path|file)|^pretrained)$")


def typed_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """The named values of a command line as they were typed.

    Args:
        arguments: such as ``["--epochs", "3", "--amp=true", "--resume"]``.

    Returns:
        Words by name; a switch without one is ``"True"``.
    """
    found: dict[str, str] = {}
    for argument, following in zip(arguments, [*arguments[1:], "--"]):
        if argument == "--":
            break
        if _FLAG.match(argument):
            name, equals, value = argument.lstrip("-").partition("=")
            if not equals:
                value = "True" if _FLAG.match(following) else following
            found[name.replace("-", "_")] = value
    return found


def overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """The named values of a command line as ``fire`` reads them; arguments as :func:`typed_overrides` has them."""
    from fire.parser import DefaultParseValue

    return {name: DefaultParseValue(word) for name, word in typed_overrides(arguments).items()}


def path_as_typed(value: Any) -> str:
    """A path as the user typed it: ``fire`` makes a number of ``20240102`` and ``1e-3``, and ``a`` of ``a#b``.

    Args:
        value: what ``fire`` made of it, or a path that was never on a command line.

    Returns:
        The word behind one of the command line's flags for paths that reads as ``value``, else ``value`` as a text.
    """
    if on_command_line():
        from fire.parser import DefaultParseValue

        for name, word in typed_overrides(sys.argv[2:]).items():
            if _PATH.search(name) and (not isinstance(value, str) or "#" in word):
                read = DefaultParseValue(word)
                if type(read) is type(value) and read == value:
                    return word
    return str(value)
