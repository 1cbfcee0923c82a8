"""Names of parameters in few words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

MIN_DEPTH = 2


def grouped(names: Collection[str], every: Sequence[str]) -> str:
    """Names of a network's tensors, those of a module in one word where all of its are among them.

    Args:
        names: the names to say.
        every: the names of all of the network's tensors.

    Returns:
        Such as ``backbone.encoder.* (120), pyramid.fuse.weight``.
    """
    return ", ".join(_groups(frozenset(names), [name.split(".") for name in every], 0))


def _groups(names: frozenset[str], every: list[list[str]], depth: int) -> list[str]:
    """The words for the names below one prefix, which has ``depth`` levels."""
    found = []
    for level in dict.fromkeys(parts[depth] for parts in every if len(parts) > depth):
        below = [parts for parts in every if len(parts) > depth and parts[depth] == level]
        chosen = [parts for parts in below if ".".join(parts) in names]
        if not chosen:
            continue
        leaf = len(below) == 1 and len(below[0]) == depth + 1
        if leaf:
            found.append(".".join(below[0]))
        elif len(chosen) == len(below) and depth + 1 >= MIN_DEPTH:
            found.append(f"{'.'.join(below[0][: depth + 1])}.* ({len(below)})")
        else:
            found += _groups(names, below, depth + 1)
    return found
