"""Divides cases into training, validation and test: by case, by fold, by name, or each volume by slabs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ..utils import user_path
from .divide import PARTS, Case, Division, Split
from .groups import few
from .reading import read_image

SHARES = (0.6, 0.2, 0.2)
_CONTENT_LEVEL = 0.5
_CONTENT_SHARE = 0.02
_logger = logging.getLogger(__name__)


def check_shares(split: Sequence[float] | None) -> tuple[float, ...]:
    """The shares of training, validation and test; 60/20/20 where none are set.

    Raises:
        ValueError: If they are no three numbers above 0 that add up to 1.
    """
    if split is None:
        return SHARES
    shares = tuple(split) if isinstance(split, Sequence) and not isinstance(split, str) else ()
    numbers = all(isinstance(share, int | float) and share > 0 for share in shares)
    if len(shares) != len(PARTS) or not numbers or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"split is {split!r}; expected the shares of training, validation and test, all above 0, which add up to "
            "1: such as [0.8,0.1,0.1]"
        )
    return shares


def by_share(folder: str | os.PathLike | None = None, shares: Sequence[float] = SHARES) -> Division:
    """The first 60% of the cases train, the next 20% validate, the last 20% test; none is left empty.

    Args:
        folder: the data set's folder, for messages.
        shares: other shares of the three.
    """

    def pieces(count: int) -> list[int]:
        first, last = _bounds(count, shares)
        return [0] * first + [1] * (last - first) + [2] * (count - last)

    def too_few(words: str) -> str:
        return (
            f"{f'{folder}: ' if folder else ''}has {words} to divide, at least {len(PARTS)} are needed for training, "
            "validation and test; add cases, set split_by to slab to divide each volume along its axial axis, or name "
            "the parts in split_file"
        )

    return Division(shares, PARTS, pieces, len(PARTS), too_few)


def by_fold(fold: int, num_folds: int) -> Division:
    """K-fold cross-validation: fold k tests, fold k + 1 validates, the others train; over all k each case tests once.

    Args:
        fold: the fold that tests, from 0; number i of a list is in fold i modulo ``num_folds``.
        num_folds: number of folds, at least 3.

    Raises:
        ValueError: If the numbers do not fit.
    """
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in (fold, num_folds)):
        raise ValueError(f"fold is {fold!r} of num_folds {num_folds!r}; expected whole numbers, fold from 0")
    if num_folds < 3 or not 0 <= fold < num_folds:
        raise ValueError(
            f"fold is {fold} of num_folds {num_folds}; expected num_folds of 3 or more and fold from 0 to num_folds - 1"
        )
    role = {fold: "test", (fold + 1) % num_folds: "val"}

    def too_few(words: str) -> str:
        count = int(words.split()[0])
        mend = f"set num_folds to {count} or less" if count >= 3 else "at least 3 are needed for folds"
        return f"num_folds is {num_folds} for {words}; {mend}"

    return Division(
        [1 / num_folds] * num_folds,
        [role.get(k, "train") for k in range(num_folds)],
        lambda count: [index % num_folds for index in range(count)],
        num_folds,
        too_few,
    )


def for_validation(folder: str | os.PathLike, shares: Sequence[float] = SHARES) -> Division:
    """The last 25% of the cases validate, where others are kept for test; the others train.

    Args:
        folder: the data set's folder, for messages.
        shares: of training, validation and test; the first two are brought to 1.
    """
    share = 0.75 if tuple(shares) == SHARES else shares[0] / (shares[0] + shares[1])

    def pieces(count: int) -> list[int]:
        train = min(max(round(share * count), 1), count - 1)
        return [0] * train + [1] * (count - train)

    return Division(
        (share, 1 - share),
        ("train", "val"),
        pieces,
        2,
        lambda words: f"{folder}: has {words} to train and validate; add some",
    )


def split_by_file(cases: Sequence[Case], split_file: str | os.PathLike) -> Split:
    """The split that a JSON file names: {"train": [case, ...], "val": [...], "test": [...]}.

    Args:
        cases: all cases.
        split_file: path of the file, or of a training's ``split.json``. Without "test" the validation cases test,
            which is logged.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such JSON, names an unknown case, or a case twice.
    """
    split_file = user_path(split_file)
    if not split_file.is_file():
        raise FileNotFoundError(f"{split_file}: no such split file")
    try:
        named = json.loads(split_file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{split_file}: is not JSON ({error})") from None
    shape = '{"train": [case, ...], "val": [...], "test": [...]}'
    if isinstance(named, dict) and "fingerprints" in named:
        if "slabs" in named:
            raise ValueError(f"{split_file}: records a split by slabs, which names cannot tell; set split_by to slab")
        named = {part: names for part, names in named.items() if part in PARTS}
    if not isinstance(named, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in named.values()
    ):
        raise ValueError(f"{split_file}: holds something else than lists of names by part; expected {shape}")
    if set(named) - set(PARTS) or not named.get("train") or not named.get("val"):
        raise ValueError(f"{split_file}: has {', '.join(named) or 'no entries'}; expected {shape} with train and val")
    return split_by_name(cases, named, os.fspath(split_file))


def split_by_name(cases: Sequence[Case], named: Mapping[str, Sequence[str]], source: str) -> Split:
    """The split by lists of case names.

    Args:
        cases: all cases.
        named: names by "train", "val" and, optionally, "test".
        source: the file that names them, for messages.

    Returns:
        The cases by "train", "val" and "test".

    Raises:
        ValueError: If a name is unknown or given twice.
    """
    known = {case["case"]: case for case in cases}
    seen: set[str] = set()
    for part, names in named.items():
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{source}: {part} names case {name!r}, which is not among the {len(known)} cases ({few(known)})"
                )
            if name in seen:
                raise ValueError(f"{source}: names case {name!r} twice; a case belongs to one part")
            seen.add(name)
    split = {part: [known[name] for name in named.get(part, ())] for part in PARTS}
    if len(seen) < len(known):
        _logger.info("%s leaves out %d of %d cases", source, len(known) - len(seen), len(known))
    if not split["test"]:
        _logger.info("%s names no test cases: the validation cases serve as test", source)
        split["test"] = list(split["val"])
    return split


def split_by_slab(
    cases: Sequence[Case],
    test: Sequence[Case] = (),
    groups: Mapping[str, str] | None = None,
    shares: Sequence[float] = SHARES,
) -> Split:
    """Divides each volume along its axial axis: the first 60% of its slices with content train, 20% validate, 20% test.

    Where other cases are kept for test, the last 40% validate. A slice has content when at least 2% of its voxels
    exceed half of the volume's brightness (99.5th percentile). The volumes of a group, such as several contrasts of a
    patient, are divided at the same slices, where any of them has content.

    Args:
        cases: volumes; each is read once.
        test: cases that are kept for test, whole.
        groups: groups by the cases' names, or none.
        shares: other shares of training, validation and test than 60/20/20.

    Returns:
        The cases by "train", "val" and "test"; those of ``cases`` with ``slab`` = [first, last) along the last RAS
        axis.

    Raises:
        ValueError: If an image is no volume or has fewer than 3 slices with content, or the volumes of a group have
            different numbers of slices.
    """
    split: Split = {part: [] for part in PARTS}
    grouped: dict[str, list[Case]] = {}
    for case in cases:
        grouped.setdefault(groups[case["case"]] if groups else case["case"], []).append(case)
    for group, members in grouped.items():
        found = [_content(case) for case in members]
        if len({slices for _, _, slices in found}) > 1:
            listed = ", ".join(f"{case['case']} {slices}" for case, (_, _, slices) in list(zip(members, found))[:3])
            raise ValueError(
                f"group {group}: has volumes of different numbers of slices ({listed}), which split_by slab cannot "
                "divide at the same slices; set split_by to case"
            )
        low, high = min(first for first, _, _ in found), max(last for _, last, _ in found)
        first, last = _bounds(high - low, shares)
        edges = (low, low + first, high) if test else (low, low + first, low + last, high)
        for case in members:
            for part, start, end in zip(PARTS, edges, edges[1:]):
                split[part].append({**case, "slab": (start, end)})
    split["test"] += test
    return split


def _content(case: Case) -> tuple[int, int, int]:
    """[first, last) of the slices with content, and the number of all slices."""
    image = read_image(case["image"]) if not hasattr(case["image"], "affine") else case["image"]
    if image.ndim != 4:
        raise ValueError(
            f"case {case['case']}: is a 2D image, which cannot be divided into slabs; set split_by to case"
        )
    volume = image.numpy()
    bright = volume - volume.min() > _CONTENT_LEVEL * (np.percentile(volume, 99.5) - volume.min())
    filled = np.flatnonzero(bright.mean(axis=(0, 1, 2)) >= _CONTENT_SHARE)
    if len(filled) < len(PARTS):
        raise ValueError(f"case {case['case']}: has {len(filled)} slices with content; expected 3 or more for slabs")
    return int(filled[0]), int(filled[-1]) + 1, volume.shape[-1]


def _bounds(count: int, shares: Sequence[float]) -> tuple[int, int]:
    """Where validation and test begin among ``count`` (at least 3) things in order."""
    train = min(max(round(shares[0] * count), 1), count - 2)
    val = min(max(round(shares[1] * count), 1), count - train - 1)
    return train, train + val
