"""Divides cases into parts: every sub-folder or class for itself, groups whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .groups import make_groups, top_folder

Case = dict[str, Any]
Split = dict[str, list[Case]]
Kind = tuple[int, str]
PARTS = ("train", "val", "test")
_FEW_GROUPS, _MANY_GROUPS = 50, 1000
_STARTS = 50
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class Division:
    """The settings by which a list is divided.

    Args:
        shares: the share of each piece.
        parts: the part of the split that each piece belongs to.
        pieces: the piece of each of a number of things in order, such as [0, 0, 0, 1, 2] of 5.
        smallest: the smallest number of things that can be divided.
        too_few: what is wrong with fewer, and how to mend it; takes words such as "2 cases".
    """

    shares: Sequence[float]
    parts: Sequence[str]
    pieces: Callable[[int], list[int]]
    smallest: int
    too_few: Callable[[str], str]


def divide(cases: Sequence[Case], division: Division, groups: Mapping[str, str] | None = None) -> Split:
    """Divides the cases of each class or sub-folder alike, so that each part has its share of all; groups stay whole.

    What is divided for itself is a class, or the first sub-folder in the cases' names, which is the class's folder: the
    same files are divided alike with and without classes. Sub-folders with too few cases or groups are divided
    together; a class with too few is an error.

    Groups of several cases are then moved and swapped between the parts as long as this brings the number of cases,
    over all and of each class or sub-folder, closer to the shares. scikit-learn's StratifiedGroupKFold is not used:
    it knows equal shares only, may leave a part empty, and divides single cases otherwise than in their order.

    Args:
        cases: cases, in order.
        division: how each class or sub-folder is divided.
        groups: groups by the cases' names; none: see ``make_groups``.

    Returns:
        The cases by "train", "val" and "test", in order of classes or sub-folders.

    Raises:
        ValueError: If the cases cannot be divided.
    """
    units = make_groups(cases, groups)
    kinds = [Counter(map(_kind, unit)) for unit in units]
    strata = _strata(kinds, division)
    spanning = any(len(kind) > 1 for kind in kinds)
    order: list[int] = []  # indices of units, stratum after stratum
    pieces: list[int] = []
    for stratum in [range(len(units))] if spanning else strata.values():
        if len(stratum) < division.smallest:
            raise ValueError(_refusal([units[index] for index in stratum], groups, division))
        order += stratum
        pieces += division.pieces(len(stratum))
    if len(units) < len(cases):
        columns = {kind: column for column, names in enumerate(strata) for kind in names}
        counts = np.zeros((len(units), len(strata)))
        for row, index in enumerate(order):
            for kind, count in kinds[index].items():
                counts[row, columns[kind]] += count
        pieces = balanced(counts, pieces, division.shares)
    split: Split = {part: [] for part in PARTS}
    for index, piece in zip(order, pieces):
        split[division.parts[piece]] += units[index]
    return split


def balanced(counts: np.ndarray, pieces: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Moves and swaps groups between pieces until none of it brings the pieces closer to their shares.

    Few groups are also dealt out anew in some fixed random orders, of which the best is taken where it is better.

    Args:
        counts: cases of each group in each stratum, (groups, strata).
        pieces: the piece of each group; none is empty, and none becomes so.
        shares: the share of each piece.

    Returns:
        The piece of each group.
    """
    # the last column counts all strata, and weighs as much as they do together
    counts = np.column_stack([counts, counts.sum(1) * counts.shape[1] ** 0.5]).astype(float)
    random = np.random.RandomState(0)
    starts = [np.array(pieces)]
    starts += [random.permutation(pieces) for _ in range(_STARTS if len(pieces) <= _FEW_GROUPS else 0)]
    found = [_improved(counts, start, shares) for start in starts]
    errors = [(_excess(counts, piece, shares) ** 2).sum().round(6) for piece in found]
    return found[int(np.argmin(errors))].tolist()


def _excess(counts: np.ndarray, piece: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The cases of each piece beyond its share, (pieces, strata)."""
    return np.stack([counts[piece == p].sum(0) - share * counts.sum(0) for p, share in enumerate(shares)])


def _improved(counts: np.ndarray, piece: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Pieces at a minimum of the sum of squares of their excess, which no move and, of few groups, no swap lowers."""
    excess = _excess(counts, piece, shares)
    sizes = np.bincount(piece, minlength=len(shares))
    changed = True
    while changed:
        changed = False
        for unit in range(len(piece)):
            own = piece[unit]
            # gains are half of what the sum of squares loses when a move takes counts[unit] from own to another piece
            moves = (counts[unit] * (excess[own] - excess - counts[unit])).sum(1)
            if sizes[own] == 1:
                moves[:] = 0
            other, gain, given, partner = int(moves.argmax()), moves.max(), counts[unit], None
            if gain < _LEAST_GAIN and len(piece) <= _MANY_GROUPS:
                change = counts[unit] - counts  # what own gives away when unit and another swap, (groups, strata)
                swaps = (change * (excess[own] - excess[piece] - change)).sum(1)
                swaps[piece == own] = 0
                partner = int(swaps.argmax())
                other, gain, given = piece[partner], swaps.max(), change[partner]
            if gain < _LEAST_GAIN:
                continue
            changed = True
            if partner is None:
                sizes[[own, other]] += [-1, 1]
            else:
                piece[partner] = own
            piece[unit] = other
            excess[own] -= given
            excess[other] += given
    return piece


def _strata(kinds: Sequence[Counter[Kind]], division: Division) -> dict[tuple[Kind, ...], list[int]]:
    """The groups that have cases of each class or sub-folder, in the order of names; small sub-folders are together."""
    found: dict[Kind, list[int]] = {}
    for index, kind in enumerate(kinds):
        for name in kind:
            found.setdefault(name, []).append(index)
    large: list[Kind] = []
    small: list[Kind] = []
    for name in sorted(found):
        (large if name[0] >= 0 or len(found[name]) >= division.smallest else small).append(name)
    together = sorted({index for name in small for index in found[name]})
    strata: dict[tuple[Kind, ...], list[int]] = {(name,): found[name] for name in large}
    if 0 < len(together) < division.smallest and large:
        last = large[-1]
        del strata[(last,)]
        return {**strata, (last, *small): sorted({*found[last], *together})}
    return {**strata, tuple(small): together} if small else strata


def _kind(case: Case) -> Kind:
    """The class of a case, or -1 and the sub-folder it lies in."""
    return case.get("class_label", -1), case["class_name"] if "class_label" in case else top_folder(case["case"])


def _refusal(units: Sequence[list[Case]], groups: Mapping[str, str] | None, division: Division) -> str:
    count = sum(map(len, units))
    words = f"{count} case{'s' * (count != 1)}"
    if len(units) < count or groups is not None:
        words = f"{len(units)} group{'s' * (len(units) != 1)} of {words}"
    first = units[0][0]
    prefix = f"class {first['class_name']} ({first['class_label']}): " if "class_label" in first else ""
    hint = ""
    if groups is None and len(units) < count:
        hint = f'; folders such as {top_folder(first["case"])} stay whole, --group_by ".+" divides them'
    return prefix + division.too_few(words) + hint
