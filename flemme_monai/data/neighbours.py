"""2.5D input: the slices beside a slice as further channels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from .files import image_kind
from .groups import few
from .matching import Case

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def own_channels(in_channels: int, neighbour_slices: int, spatial_dims: int = 2) -> int:
    """The channels of one slice, of those that a network takes.

    Args:
        in_channels: channels of the network.
        neighbour_slices: slices on each side that are given too.
        spatial_dims: axes of the network.

    Returns:
        ``in_channels`` over the number of slices.

    Raises:
        ValueError: If the numbers do not fit, or the network is 3D.
    """
    if not isinstance(neighbour_slices, int) or isinstance(neighbour_slices, bool) or neighbour_slices < 0:
        raise ValueError(f"neighbour_slices is {neighbour_slices!r}; expected a number from 0: give 1 for one per side")
    if neighbour_slices and spatial_dims != 2:
        raise ValueError(
            f"neighbour_slices is {neighbour_slices} while spatial_dims is {spatial_dims}; expected 0, since a 3D "
            "network sees all slices: set spatial_dims to 2, or neighbour_slices to 0"
        )
    number = 2 * neighbour_slices + 1
    if in_channels % number:
        raise ValueError(
            f"in_channels is {in_channels} while neighbour_slices is {neighbour_slices}; expected a multiple of "
            f"{number}, since each slice has as many channels: set in_channels to {number}"
        )
    return in_channels // number


def with_neighbours(cases: Sequence[Case], neighbour_slices: int) -> None:
    """Makes each picture that is a slice, by the last number in its name, a list of itself and its neighbours.

    The order is the slice itself, the one before, the one after, the second before, and so on. Beyond the first and the
    last slice, and in a gap, the nearest one stands in. Volumes are left as they are.

    Args:
        cases: the cases, whose ``image`` is changed.
        neighbour_slices: slices on each side.

    Raises:
        ValueError: If an image is in memory, or no slice has a neighbour.
    """
    if not neighbour_slices:
        return
    of_scan: dict[tuple[str, str], dict[int, list[str]]] = {}
    places = []
    for case in cases:
        image = case["image"]
        if not isinstance(image, str | list):
            raise ValueError(
                f"neighbour_slices is {neighbour_slices} while {case['case']} is no file; expected 0, since phantoms "
                "have no neighbours: give dataset_dir"
            )
        own = [image] if isinstance(image, str) else image
        match = _NUMBERED.fullmatch(case["case"])
        if image_kind(own[0]) == "picture":
            scan, number = ((match[1], match[3]), int(match[2])) if match else ((case["case"], ""), 0)
            of_scan.setdefault(scan, {})[number] = own
            places.append((case, scan, number))
    if places and max(map(len, of_scan.values())) == 1:
        raise ValueError(
            f"neighbour_slices is {neighbour_slices} while no image is beside another "
            f"({few([case['case'] for case, _, _ in places])}); expected names that end in the slice's number: rename "
            "them, or set neighbour_slices to 0"
        )
    for case, scan, number in places:
        slices = of_scan[scan]
        before = after = slices[number]
        found = list(slices[number])
        for distance in range(1, neighbour_slices + 1):
            before, after = slices.get(number - distance, before), slices.get(number + distance, after)
            found += [*before, *after]
        case["image"] = found


def stack_neighbours(volume: torch.Tensor, neighbour_slices: int) -> torch.Tensor:
    """A volume (C, H, W, D) with the channels of each slice and its neighbours, as :func:`with_neighbours` orders them.

    Args:
        volume: the volume.
        neighbour_slices: slices on each side; the first and the last are repeated beyond the ends.

    Returns:
        (C (2 neighbour_slices + 1), H, W, D).
    """
    places = torch.arange(volume.shape[-1], device=volume.device)
    shifts = [0, *(sign * distance for distance in range(1, neighbour_slices + 1) for sign in (-1, 1))]
    last = volume.shape[-1] - 1
    return torch.cat([volume.index_select(-1, (places + shift).clamp(0, last)) for shift in shifts])
