"""Data sets of masks that may overlap, on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flemme_monai.data import split_datalist
from flemme_monai.transforms import CheckCased, EnsureChannelAxisd, LoadImageFilesd, LoadLabeld

ORGANS = ("large_bowel", "small_bowel", "stomach")


def write_scan(folder: Path, case: str, day: str, number: int, pixels: np.ndarray, spacings: str = "1.50_1.60") -> str:
    """A slice (H, W) in the place that Kaggle gives it; its id."""
    scans = folder / "train" / case / f"{case}_{day}" / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape
    Image.fromarray(pixels.astype(np.uint16)).save(scans / f"slice_{number:04d}_{width}_{height}_{spacings}.png")
    return f"{case}_{day}_slice_{number:04d}"


def write_table(folder: Path, codes: Mapping[str, Sequence[str]]) -> None:
    """train.csv of the codes of the three organs by id."""
    lines = [f"{name},{organ},{code}" for name, of_slice in codes.items() for organ, code in zip(ORGANS, of_slice)]
    (folder / "train.csv").write_text("\n".join(["id,class,segmentation", *lines]) + "\n", encoding="utf-8")


def write_gi(folder: Path, cases: int = 3, slices: int = 2) -> Path:
    """Cases of one day, whose organs overlap in their first slice and are absent in the others."""
    codes = {}
    for case in range(1, cases + 1):
        for number in range(1, slices + 1):
            pixels = np.full((4, 6), 100 * case + number)
            name = write_scan(folder, f"case{case}", "day0", number, pixels)
            codes[name] = ("2 3", "3 3", "") if number == 1 else ("", "", "")
    write_table(folder, codes)
    return folder


def write_class_masks(folder: Path, count: int = 3) -> Path:
    """Pictures with masks of two classes that overlap; the last has none of the second class."""
    (folder / "images").mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((4, 6), 10 * index, np.uint8)).save(folder / "images" / f"a{index}.png")
        for name, columns in (("bone", slice(0, 3)), ("skin", slice(2, 5))):
            mask = np.zeros((4, 6), np.uint8)
            mask[:, columns] = 255
            (folder / "masks" / name).mkdir(parents=True, exist_ok=True)
            if name == "bone" or index < count - 1:
                Image.fromarray(mask).save(folder / "masks" / name / f"a{index}.png")
    return folder


def split(folder: Path | None, **settings: Any) -> dict[str, Any]:
    """The cases of a multi-label data set of three classes by part; ``settings`` differ from that."""
    arguments = {
        "task": "segmentation",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 3,
        "image_size": 4,
        "multi_label": True,
    }
    return split_datalist(folder, **{**arguments, **settings})


def loaded(case: dict[str, Any], in_channels: int = 1, num_classes: int = 3) -> dict[str, Any]:
    """A case as bundles load it."""
    item = LoadLabeld()(LoadImageFilesd()(case))
    item = EnsureChannelAxisd(["image", "label"], 2)(item)
    return CheckCased(in_channels, num_classes, multi_label=True)(item)
