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
OFF_CENTRE = 0.15  # of an image: so far off the others' place a case may be turned the wrong way
OUTSIDE = 0.1  # share of the foreground
AXES = ("left and right", "back and front", "top and bottom")


def data_warnings(data: DataFingerprint, target: Sequence[float]) -> list[str]:
    """A sentence for each thing that is odd.

    Args:
        data: what is known of the data set.
        target: mm along each axis.
    """
    found = (_orientations(data), _turned(data), _outside(data), _copies(data), _classes(data, target))
    return [line for lines in (*found, _spacings(data), _empty(data)) for line in lines]


def _orientations(data: DataFingerprint) -> Iterator[str]:
    found = Counter(case.orientation for case in data.cases if case.orientation)
    if len(found) > 1:
        listed = ", ".join(f"{count} {axes}" for axes, count in found.most_common())
        yield f"several orientations ({listed}): all are turned to RAS; see that no affine is wrong"


def _turned(data: DataFingerprint) -> Iterator[str]:
    """Volumes whose classes lie where those of the others do when an axis is turned round."""
    if data.spatial_dims < 3 or len(data.cases) < FEW_CASES:
        return
    labels = sorted({label for case in data.cases for label in case.centres})
    usual = {
        label: np.median([case.centres[label] for case in data.cases if label in case.centres], axis=0)
        for label in labels
    }
    found: dict[int, list[str]] = {}
    for case in data.cases:
        if case.centres:
            own = np.array(list(case.centres.values()))  # (classes, 3)
            others = np.array([usual[label] for label in case.centres])
            off, turned = np.abs(own - others).mean(0), np.abs(1 - own - others).mean(0)
            for axis in np.flatnonzero((off > OFF_CENTRE) & (turned < off / 3)):
                found.setdefault(int(axis), []).append(case.case)
    for axis, names in found.items():
        yield f"{len(names)} cases look as if {AXES[axis]} were exchanged, such as {names[0]}: see their affines"


def _outside(data: DataFingerprint) -> Iterator[str]:
    outside = [case.case for case in data.cases if case.outside > OUTSIDE]
    if outside:
        yield f"{len(outside)} cases have labels where their image is 0, such as {outside[0]}: see that both fit"


def _copies(data: DataFingerprint) -> Iterator[str]:
    by_digest = sorted(data.cases, key=lambda case: case.digest)
    for _, group in groupby(by_digest, key=lambda case: case.digest):
        names = [case.case for case in group]
        if len(names) > 1:
            yield f"one image under several names: {', '.join(sorted(names)[:5])}; a copy may test what trained"


def _classes(data: DataFingerprint, target: Sequence[float]) -> Iterator[str]:
    voxel = np.prod(target)
    found = {label for case in data.cases for label in case.labels}
    absent = [str(label) for label in range(1, data.highest_label + 1) if label not in found]
    if absent:
        listed = ", ".join(absent[:5]) + ", ..." * (len(absent) > 5)
        yield f"{len(absent)} of {data.highest_label} classes are in no case ({listed}); each costs memory"
    for label in range(1, data.highest_label + 1):
        name = data.name(label) if label in data.class_names else str(label)
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
    unplaced = [case.case for case in data.cases if not case.placed]
    if unplaced:
        yield f"{len(unplaced)} files have no affine, such as {unplaced[0]}: their pixdim is taken as spacing"
    if odd:
        yield f"{len(odd)} cases have a spacing far from the median, such as {odd[0]}"


def _empty(data: DataFingerprint) -> Iterator[str]:
    empty = [case.case for case in data.cases if not any(label > 0 for label in case.labels)]
    if empty:
        yield f"{len(empty)} cases have no foreground, such as {empty[0]}"
