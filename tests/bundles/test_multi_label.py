"""Bundles whose classes overlap, on a sample in the layout of Kaggle's GI tract challenge."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from gi_files import write_class_masks
from monai.bundle import ConfigWorkflow
from PIL import Image

from flemme_monai.data.gi_sample import write_gi_sample
from flemme_monai.recipes import make_bundle, write

SMALL = {
    "num_classes": 3,
    "multi_label": True,
    "image_size": [32, 32],
    "epochs": 1,
    "batch_size": 4,
    "network_def#backbone#channels": [8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "augmentation#elastic": 0.0,
}
ORGANS = ["large_bowel", "small_bowel", "stomach"]
FILES = {"train": ("train",), "evaluate": ("train", "evaluate"), "inference": ("inference",)}


def run(bundle: Path, workflow: str, **settings: Any) -> None:
    """Run a workflow of a bundle with settings."""
    paths = [str(bundle / "configs" / f"{name}.json") for name in FILES[workflow]]
    kind = "inference" if workflow == "inference" else "train"
    ran = ConfigWorkflow(paths, workflow_type=kind, bundle_root=str(bundle), **settings)
    ran.initialize()
    ran.run()
    ran.finalize()


def summary(folder: Path) -> dict[tuple[str, str], str]:
    """The means of a summary by metric and class."""
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        return {(row["metric"], row["class"]): row["mean"] for row in csv.DictReader(file)}


def trained(tmp_path: Path, pair: str, **settings: Any) -> tuple[Path, Path]:
    """A bundle that was trained for an epoch, and its data."""
    data = tmp_path / "data"
    write_gi_sample(data, num_cases=3, num_slices=3, seed=0)
    write(tmp_path / pair, make_bundle(pair, settings={**SMALL, **settings}))
    run(tmp_path / pair, "train", dataset_dir=str(data))
    return tmp_path / pair, data


def test_predictions_as_masks_and_as_a_submission_have_the_networks_metrics(tmp_path: Path) -> None:
    bundle, data = trained(tmp_path, "sem_unet")
    run(bundle, "evaluate", dataset_dir=str(data))
    measured = summary(bundle / "output" / "evaluate")
    assert [name for metric, name in measured if metric == "dice"] == [*ORGANS, "mean"]
    assert ("time_saved_total", "all") in measured
    run(bundle, "inference", dataset_dir=str(data))
    predictions = bundle / "output" / "inference"
    measured = {key: mean for key, mean in measured.items() if key[0] != "bce"}  # masks have no logits
    for place in (predictions, predictions / "submission.csv"):
        run(bundle, "evaluate", dataset_dir=str(data), evaluate_folder=str(place), output_dir=str(tmp_path / "again"))
        assert summary(tmp_path / "again") == measured


def test_what_training_was_set_is_kept_with_the_weights(tmp_path: Path) -> None:
    bundle, data = trained(tmp_path, "sem_unet", in_channels=3, neighbour_slices=1, clip_share=0.0333, resize=True)
    kept = json.loads((bundle / "models" / "network.json").read_text(encoding="utf-8"))["settings"]
    expected = {"multi_label": True, "neighbour_slices": 1, "clip_share": 0.0333, "resize": True}
    assert {name: kept[name] for name in expected} == expected
    run(bundle, "inference", dataset_dir=str(data), class_names=["a", "b", "c"])  # may differ: weights mean the same
    masks = sorted((bundle / "output" / "inference" / "c").rglob("*.png"))
    assert len(masks) == 15
    assert Image.open(masks[0]).size == (96, 80)  # of the file, not of image_size


@pytest.mark.slow
def test_a_hierarchical_bundle_learns_masks_of_any_classes(tmp_path: Path) -> None:
    data = write_class_masks(tmp_path / "data", count=6)
    write(tmp_path / "hsem_unet", make_bundle("hsem_unet", settings={**SMALL, "num_classes": 2}))
    run(tmp_path / "hsem_unet", "train", dataset_dir=str(data), keep_empty=False)
    run(tmp_path / "hsem_unet", "evaluate", dataset_dir=str(data))
    measured = summary(tmp_path / "hsem_unet" / "output" / "evaluate")
    assert [name for metric, name in measured if metric == "dice"] == ["bone", "skin", "mean"]
    assert ("time_saved", "bone") not in measured


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["ae_unet", "ddpm_unet"])
def test_bundles_of_other_tasks_take_neighbouring_slices(tmp_path: Path, pair: str) -> None:
    data = tmp_path / "data"
    write_gi_sample(data, num_cases=3, num_slices=3, seed=0)
    settings = {name: value for name, value in SMALL.items() if name not in ("num_classes", "multi_label")}
    settings = {name: value for name, value in settings.items() if name != "augmentation#elastic"}
    outputs = {"out_channels": 3} if pair == "ae_unet" else {}
    settings |= {"in_channels": 3, "neighbour_slices": 1, **outputs}
    write(tmp_path / pair, make_bundle(pair, settings=settings))
    run(tmp_path / pair, "train", dataset_dir=str(data))
    assert (tmp_path / pair / "models" / "model.pt").is_file()
