"""A bundle trains alike wherever its cases are kept, and with worker processes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import random_picture, write_nifti
from monai.bundle import run
from refusal import refused

from flemme_monai.recipes import make_bundle, write

SMALL = {
    "network_def#backbone#channels": [4, 4],
    "network_def#backbone#patch_channels": 4,
    "network_def#backbone#middle_channels": [4],
    "network_def#backbone#num_blocks": 1,
    "num_classes": 2,
    "image_size": [16, 16],
    "batch_size": 4,
    "epochs": 2,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six volumes with labels."""
    for name in "abcdef":
        image = random_picture(ord(name), (20, 18, 4))
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", image)
        write_nifti(tmp_path / "labels" / f"{name}.nii.gz", (image > 128).astype(np.uint8))
    return tmp_path


def trained(bundle: Path, name: str, data: Path, *overlay: str, **settings: Any) -> list[dict[str, str]]:
    """The rows of a training's table, but for its times."""
    files = [str(bundle / "configs" / f"{config}.json") for config in ("train", *overlay)]
    folders = {"ckpt_dir": str(data / name / "m"), "output_dir": str(data / name / "o")}
    run(config_file=files, bundle_root=str(bundle), dataset_dir=str(data), device="cpu", **folders, **settings)
    with (data / name / "o" / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("seconds", "waiting")} for row in rows]


@pytest.mark.parametrize("spatial_dims", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_training_is_the_same_wherever_its_cases_are_kept(data: Path, tmp_path: Path, spatial_dims: int) -> None:
    bundle = tmp_path / "bundle"
    size = [16, 16, 8][:spatial_dims]
    write(bundle, make_bundle("sem_unet", settings={**SMALL, "spatial_dims": spatial_dims, "image_size": size}))
    kept = trained(bundle, "auto", data)
    assert not (bundle / "cache").exists(), "what fits is kept in memory"
    assert trained(bundle, "disk", data, cache="disk") == kept
    assert len(list((bundle / "cache").glob("*.pt"))) == 5, "the training and the validation cases"
    if spatial_dims == 3:
        assert trained(bundle, "none", data, cache="none") == kept


@pytest.mark.slow
def test_a_training_with_worker_processes_repeats(data: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write(bundle, make_bundle("sem_unet", settings=SMALL))
    kept = [trained(bundle, name, data, loader_workers=2) for name in ("first", "second")]
    assert kept[0] == kept[1]


def test_an_unknown_cache_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write(bundle, make_bundle("sem_unet", settings=SMALL))
    line = refused(bundle, "train", {"output_dir": tmp_path / "o"}, dataset_dir=str(data), cache="disc")
    assert "cache is 'disc'; expected auto, memory, disk or none" in line
