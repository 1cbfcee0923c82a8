"""Phantoms of the abdomen in the layout of Kaggle's UW-Madison GI tract challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ..io import write_csv, write_png
from .gi_tract import COLUMNS, CSV, ORGANS
from .run_length import encode

WIDTH, HEIGHT = 96, 80
SPACINGS = (1.5, 1.63)  # mm, as scans of the challenge have
_NOISE = 0.04
_LEVELS = {"large_bowel": 0.62, "small_bowel": 0.5, "stomach": 0.75}
_PLACES = {"large_bowel": (-0.35, 0.3), "small_bowel": (0.1, 0.1), "stomach": (0.35, -0.35)}  # x and y, in [-1, 1]
_RADII = {"large_bowel": (0.3, 0.24), "small_bowel": (0.34, 0.26), "stomach": (0.28, 0.2)}
_RANGES = {"large_bowel": (0.1, 0.75), "small_bowel": (0.25, 0.9), "stomach": (0.45, 0.95)}  # of the scan's length


def write_gi_sample(folder: Path, num_cases: int, num_slices: int, seed: int) -> int:
    """Writes cases of one or two days each, of slices with overlapping organs, and slices without any.

    Args:
        folder: a folder that is made, or is empty.
        num_cases: number of cases.
        num_slices: slices of each day.
        seed: the same seed writes the same files.

    Returns:
        The number of slices.

    Raises:
        ValueError: If the folder holds something, or a number is too small.
    """
    if num_cases < 1 or num_slices < 1:
        raise ValueError(f"there are {num_cases} cases of {num_slices} slices; expected 1 or more of each")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: holds something; expected a new or an empty folder: give another")
    rows = []
    for case in range(1, num_cases + 1):
        body = np.random.default_rng([seed, case])
        shifts = {organ: body.uniform(-0.08, 0.08, 2) for organ in ORGANS}
        for day in (0, 20)[: 1 + case % 2]:
            name = f"case{case}_day{day}"
            scans = folder / "train" / f"case{case}" / name / "scans"
            scans.mkdir(parents=True)
            random = np.random.default_rng([seed, case, day + 1])
            spacing = f"{SPACINGS[case % 2]:.2f}"
            for number in range(1, num_slices + 1):
                image, masks = _slice(random, shifts, (number - 0.5) / num_slices)
                write_png(scans / f"slice_{number:04d}_{WIDTH}_{HEIGHT}_{spacing}_{spacing}.png", image)
                rows += [[f"{name}_slice_{number:04d}", organ, encode(masks[organ])] for organ in ORGANS]
    write_csv(folder / CSV, COLUMNS, rows)
    return len(rows) // len(ORGANS)


def _slice(
    random: np.random.Generator, shifts: dict[str, np.ndarray], depth: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A slice (H, W) of 16 bits and the masks of its organs, at a depth of the scan from 0 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, HEIGHT), np.linspace(-1, 1, WIDTH), indexing="ij")
    body = (x / 0.9) ** 2 + (y / 0.85) ** 2 <= 1
    image = np.where(body, 0.3, 0.02)
    masks = {}
    for organ in ORGANS:
        first, last = _RANGES[organ]
        middle, half = (first + last) / 2, (last - first) / 2
        scale = 1 - ((depth - middle) / half) ** 2  # of the area, 0 at both ends of the organ
        place = _PLACES[organ] + shifts[organ] + random.uniform(-0.03, 0.03, 2)
        if scale <= 0:
            masks[organ] = np.zeros(body.shape, bool)
            continue
        radii = np.array(_RADII[organ]) * scale**0.5 * random.uniform(0.9, 1.1, 2)
        masks[organ] = (((x - place[0]) / radii[0]) ** 2 + ((y - place[1]) / radii[1]) ** 2 <= 1) & body
        image = np.where(masks[organ], _LEVELS[organ] * random.uniform(0.9, 1.1), image)
    bias = 1 + 0.2 * np.sin(x * random.uniform(0.5, 1.5) + random.uniform(0, 2 * np.pi))
    image = gaussian_filter(image, 0.7) * bias + random.normal(0, _NOISE, image.shape)
    return np.rint(image.clip(0, 1) * 20000).astype(np.uint16), masks
