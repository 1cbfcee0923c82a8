"""A small network, a small data set, and runs of a bundle's configs in the test's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import run
from PIL import Image

SMALL = {
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "num_classes": 2,
}


def data_set(folder: Path) -> Path:
    """Six pictures with masks, larger than a window and of sides that no stride divides."""
    random = np.random.RandomState(0)
    for name in "abcdef":
        mask = np.zeros((21, 37), np.uint8)
        mask[3:9, 4:10] = 1
        for part, picture in {
            "images": (mask * 120 + random.rand(21, 37) * 60).astype(np.uint8),
            "masks": mask,
        }.items():
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"{name}.png")
    return folder


def start(bundle: Path, *names: str, **settings: Any) -> None:
    """Run some configs of a bundle."""
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    kept = {"bundle_root": str(bundle), "device": "cpu"}
    run(config_file=files, meta_file=str(bundle / "configs" / "metadata.json"), **kept, **settings)
