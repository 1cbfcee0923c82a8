"""Which images may be each other's negatives in contrastive learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def allowed_negatives(
    cases: torch.Tensor | Sequence,
    positions: torch.Tensor | Sequence[int],
    distance: int,
    other_cases: torch.Tensor | Sequence | None = None,
    other_positions: torch.Tensor | Sequence[int] | None = None,
) -> torch.Tensor:
    """Whether each image may be a negative of each other one.

    Neighbouring slices of one volume show the same anatomy with small changes. As negatives they teach a network to
    tell apart what it is to see as alike; so slices of a case are negatives only where they lie further apart. An
    image is no negative of itself or of another crop of the same slice.

    Args:
        cases: the case of each image (B): numbers, or any values that can be compared, such as names.
        positions: the index of each image's slice in its volume (B); 0 for all images that are no slices.
        distance: slices of one case with indices at most this far apart are no negatives; 0 or more.
        other_cases: the cases of the images (N) that may be negatives, as of a memory bank; None: the images
            themselves.
        other_positions: their positions.

    Returns:
        (B, N) true where the image of the column may be a negative of the row's.

    Raises:
        ValueError: If the distance is negative, or cases and positions differ in number.
    """
    if distance < 0:
        raise ValueError(f"distance is {distance}; expected 0 or more slices.")
    if other_cases is None or other_positions is None:
        other_cases, other_positions = cases, positions
    for some_cases, some_positions in ((cases, positions), (other_cases, other_positions)):
        if len(some_cases) != len(some_positions):
            raise ValueError(
                f"there are {len(some_cases)} cases and {len(some_positions)} positions; expected one of each an image."
            )
    here, there = torch.as_tensor(positions), torch.as_tensor(other_positions)
    neighbours = (here[:, None] - there.to(here.device)[None]).abs() <= distance  # (B, N)
    return ~(_same(cases, other_cases).to(here.device) & neighbours)


def _same(cases: torch.Tensor | Sequence, others: torch.Tensor | Sequence) -> torch.Tensor:
    """Whether the case of the row is the column's, (B, N)."""
    if isinstance(cases, torch.Tensor) and isinstance(others, torch.Tensor):
        return cases[:, None] == others.to(cases.device)[None]
    return torch.tensor([[case == other for other in others] for case in cases], dtype=torch.bool)
