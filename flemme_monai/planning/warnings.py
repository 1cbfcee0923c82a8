"""What in a data set deserves a look before it is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from .fingerprint import DataFingerprint

FEW_CASES = 5
FEW_VOXELS = 64  # of a class in its median case, at the target spacing
UNUSUAL = 3.0  # times the median spacing


def data_warnings(data: DataFingerprint, target: Sequence[float]) -> list[str]:
    """A sentence for each thing that is odd.

    Args:
        data: what is known of the data set.
        target: mm along each axis.
    """
    return [*_orientations(data), *_copies(data), *_classes(data, target), *_spacings(data), *_empty(data)]


def _orientations(data: DataFingerprint) -> Iterator[str]:
    found = Counter(case.orientation for case in data.cases if case.orientation)
    if len(found) > 1:
        listed = ", ".join(f"{count} {axes}" for axes, count in found.most_common())
        yield f"several orientations ({listed}): all are turned to RAS; see that no affine is wrong"


def _copies(data: DataFingerprint) -> Iterator[str]:
    by_digest = sorted(data.cases, key=lambda case: case.digest)
    for _, group in groupby(by_digest, key=lambda case: case.digest):
        names = [case.case for case in group]
        if len(names) > 1:
            yield f"one image under several names: {', '.join(sorted(names)[:5])}; a copy may test what trained"


def _classes(data: DataFingerprint, target: Sequence[float]) -> Iterator[str]:
    voxel = np.prod(target)
    found = {label for case in data.cases for label in case.labels}
    absent = [str(label) for label in range(1, data.num_classes) if label not in found]
    if absent:
        listed = ", ".join(absent[:5]) + ", ..." * (len(absent) > 5)
        yield f"{len(absent)} of {data.num_classes - 1} classes are in no case ({listed}); each costs memory"
    for label in range(1, data.num_classes):
        name = f"{label} {data.class_names.get(label, '')}".strip()
        volumes = [case.labels[label] * np.prod(case.spacing) / voxel for case in data.cases if label in case.labels]
        if not volumes:
            continue
        if len(volumes) < min(FEW_CASES, len(data.cases)):
            yield f"class {name} is in {len(volumes)} of {len(data.cases)} cases"
        elif np.median(volumes) < FEW_VOXELS:
            yield f"class {name} has {np.median(volumes):.0f} voxels in its median case"


def _spacings(data: DataFingerprint) -> Iterator[str]:
    ratio = data.spacings / np.median(data.spacings, axis=0)
    odd = [case.case for case, row in zip(data.cases, ratio) if row.max() > UNUSUAL or row.min() < 1 / UNUSUAL]
    if odd:
        yield f"{len(odd)} cases have a spacing far from the median, such as {odd[0]}"


def _empty(data: DataFingerprint) -> Iterator[str]:
    empty = [case.case for case in data.cases if not any(label > 0 for label in case.labels)]
    if empty:
        yield f"{len(empty)} cases have no foreground, such as {empty[0]}"
