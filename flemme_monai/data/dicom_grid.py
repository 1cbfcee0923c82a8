"""Whether the slices of a DICOM series lie on one regular grid, and where that grid lies."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from .dicom_header import Header

_logger = logging.getLogger(__name__)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_OFF_GRID = 0.05  # how far a slice may lie from where the affine puts it, in steps between slices
_TURNED = 1e-3  # how far two directions (unit vectors) may differ
_STRETCHED = 1e-4  # how far two pixel spacings may differ, relatively
_MAX_TILT = 45.0  # degrees; gantries tilt by up to 30
_SAME_PLACE = 0.01  # slices closer than this are at one position, in pixels


class SeriesError(ValueError):
    """The DICOM files of a folder are no readable volume; the message names the folder and the files."""


def regular_grid(folder: str, slices: Sequence[Header]) -> tuple[list[Header], np.ndarray]:
    """Sorts slices along their normal, refusing what is not one regular grid.

    Args:
        folder: their folder, for the error.
        slices: at least two.

    Returns:
        The slices, sorted, and the affine (4, 4) from voxels to RAS mm: its third column is the step between slices,
        which is not at right angles to the others when the gantry was tilted.

    Raises:
        SeriesError: If a slice's place is not known, orientations or spacings are mixed, several slices are at one
            position, one is missing, or steps are unequal.
    """
    for name in ("position", "orientation", "spacing"):
        without = [header.name for header in slices if getattr(header, name) is None]
        if without:
            raise SeriesError(
                f"{folder}: {some_names(without)} tell no {name}, so that the slices cannot be placed; convert them to "
                "NIfTI or to pictures"
            )
    _check_one(folder, slices, "spacing", _STRETCHED * min(map(abs, _spacing(slices[0]))))
    _check_one(folder, slices, "orientation", _TURNED)
    row, column, normal = directions(folder, slices[0])
    depth = {header.path: float(np.dot(np.array(header.position), normal)) for header in slices}
    slices = sorted(slices, key=lambda header: depth[header.path])
    spacing = _spacing(slices[0])
    _check_steps(folder, slices, np.array([depth[header.path] for header in slices]), _SAME_PLACE * min(spacing))

    positions = np.array([header.position for header in slices])  # (D, 3) in LPS mm
    step = (positions[-1] - positions[0]) / (len(slices) - 1)  # from one slice to the next
    thickness = float(step @ normal)
    sideways = step - thickness * normal
    tilted = np.linalg.norm(sideways) * (len(slices) - 1) > _OFF_GRID * thickness  # more than rounded positions are
    if not tilted:
        step = thickness * normal
    off = np.linalg.norm(positions - positions[0] - np.arange(len(slices))[:, None] * step, axis=1)  # (D,) in mm
    worst = int(off.argmax())
    if off[worst] > _OFF_GRID * thickness:
        raise SeriesError(
            f"{folder}: {slices[worst].name} lies {off[worst]:.3g} mm off a regular grid of {len(slices)} slices in "
            f"steps of {thickness:.4g} mm; resample the series to equal steps, or give each grid a folder of its own"
        )
    if tilted:
        angle = math.degrees(math.atan2(float(np.linalg.norm(sideways)), thickness))
        if angle > _MAX_TILT:
            raise SeriesError(
                f"{folder}: from {slices[0].name} to {slices[-1].name} the slices move aside by {angle:.0f} degrees, "
                "more than a gantry tilts; give each grid a folder of its own"
            )
        _logger.info("%s: the gantry was tilted by %.1f degrees; the affine keeps the shear", folder, angle)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * spacing[0], column * spacing[1]
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    return slices, LPS_TO_RAS @ affine


def _check_one(folder: str, slices: Sequence[Header], name: str, tolerance: float) -> None:
    """Refuses slices whose orientation or spacing is not the first slice's."""
    values = np.array([getattr(header, name) for header in slices])
    differ = np.abs(values - values[0]).max(axis=1) > tolerance
    if differ.any():
        others = [header.name for header, differs in zip(slices, differ) if differs]
        raise SeriesError(
            f"{folder}: the slices have several {name}s: {_numbers(values[0])} in {slices[0].name}, "
            f"{_numbers(values[differ.argmax()])} in {some_names(others)}; give each kind a folder of its own"
        )


def directions(folder: str, header: Header) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The unit vectors along a row, along a column and along the slice's normal, in LPS.

    Args:
        folder: its folder, for the error.
        header: a slice that tells its orientation and spacing.

    Raises:
        SeriesError: If its orientation or its spacing is none.
    """
    orientation, spacing = np.array(header.orientation), _spacing(header)
    row, column = orientation.reshape(2, 3)
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 0.01:
        raise SeriesError(
            f"{folder}: {header.name} has the orientation {_numbers(orientation)}; expected two unit vectors "
            "at a right angle"
        )
    if min(spacing) <= 0:
        raise SeriesError(f"{folder}: {header.name} has the spacing {_numbers(spacing)}; expected mm above 0")
    row = row / np.linalg.norm(row)
    normal = np.cross(row, column)
    normal = normal / np.linalg.norm(normal)
    return row, np.cross(normal, row), normal


def _spacing(header: Header) -> tuple[float, ...]:
    """The spacing in mm of a slice that tells it."""
    assert header.spacing is not None
    return header.spacing


def _check_steps(folder: str, slices: Sequence[Header], depths: np.ndarray, same_place: float) -> None:
    """Refuses several slices at one position, and gaps.

    Args:
        folder: their folder.
        slices: the slices along their normal.
        depths: (D,), their positions along it in mm.
        same_place: the distance in mm up to which slices are at one position.
    """
    steps = np.diff(depths)
    same = np.flatnonzero(steps <= same_place)
    if len(same):
        one, other = slices[same[0]], slices[same[0] + 1]
        differences = [
            f"{key} {one.phase.get(key, 'none')} and {other.phase.get(key, 'none')}"
            for key in {**one.phase, **other.phase}
            if one.phase.get(key) != other.phase.get(key)
        ]
        difference = f", which differ in {differences[0]}" if differences else ""
        raise SeriesError(
            f"{folder}: {len(same)} of {len(slices)} slices are at the position of another, as {one.name} and "
            f"{other.name}{difference}; "
            "put each phase, echo or time point in a folder of its own"
        )
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    gaps = np.flatnonzero(steps > 1.5 * usual)
    if len(gaps):
        each = [f"between {slices[at].name} and {slices[at + 1].name} ({steps[at]:.4g} mm)" for at in gaps]
        raise SeriesError(
            f"{folder}: slices are missing {some_names(each)}, where others are {usual:.4g} mm apart; "
            "copy the whole series"
        )


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return "\\".join(f"{value:.5g}" for value in values)


def some_names(names: Sequence[str]) -> str:
    """The first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
