"""Configs as JSON that is short to read."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120
INDENT = "    "


def dump(config: dict[str, Any]) -> str:
    """A config as JSON: lists, and dictionaries that hold no other, stand on one line where they fit.

    Args:
        config: plain values.
    """
    return _lines(config, "", 0) + "\n"


def _lines(value: Any, indent: str, used: int) -> str:
    """A value; ``used`` are the columns before and after it on its line."""
    line = json.dumps(value)
    if not isinstance(value, dict | list) or not value or (_is_flat(value) and used + len(line) <= WIDTH):
        return line
    deeper = indent + INDENT
    if isinstance(value, list):
        inside = [_lines(entry, deeper, len(deeper) + 1) for entry in value]
    else:
        keys = [f"{json.dumps(key)}: " for key in value]
        inside = [key + _lines(value[name], deeper, len(deeper + key) + 1) for key, name in zip(keys, value)]
    opened, closed = "[]" if isinstance(value, list) else "{}"
    rows = f",\n{deeper}".join(inside)
    return f"{opened}\n{deeper}{rows}\n{indent}{closed}"


def _is_flat(value: dict[str, Any] | list[Any]) -> bool:
    """Whether there is no dictionary inside, at any depth."""
    inside = value.values() if isinstance(value, dict) else value
    return not any(isinstance(entry, dict) or (isinstance(entry, list) and not _is_flat(entry)) for entry in inside)
