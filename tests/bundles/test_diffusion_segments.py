"""A bundle that segments by diffusion, from training to files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser, run
from PIL import Image

from flemme_monai.recipes import make_bundle, write

SMALL = {
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
    "network_def#backbone#family#self_attention": False,
    "num_classes": 2,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six pictures with masks, larger than a window and of sides that no stride divides."""
    random = np.random.RandomState(0)
    for name in "abcdef":
        mask = np.zeros((21, 37), np.uint8)
        mask[3:9, 4:10] = 1
        for part, picture in {
            "images": (mask * 120 + random.rand(21, 37) * 60).astype(np.uint8),
            "masks": mask,
        }.items():
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / part / f"{name}.png")
    return tmp_path


def start(bundle: Path, *names: str, **settings: Any) -> None:
    """Run some configs of a bundle."""
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    kept = {"bundle_root": str(bundle), "device": "cpu"}
    run(config_file=files, meta_file=str(bundle / "configs" / "metadata.json"), **kept, **settings)


@pytest.mark.parametrize("process", ["edm", pytest.param("schedule", marks=pytest.mark.slow)])
def test_label_maps_are_learned_measured_and_written_with_their_uncertainty(process, data, tmp_path):
    bundle = tmp_path / "made"
    write(bundle, make_bundle("dsem_unet", "made", settings=SMALL))
    training = {"image_size": [16, 16], "batch_size": 4, "num_workers": 0, "epochs": 1, "dataset_dir": str(data)}
    start(bundle, "train", noise_process=process, **training)
    assert (bundle / "output" / "train" / "examples.png").is_file()
    few = {"num_samples": 2, "num_inference_steps": 2, "dataset_dir": str(data)}
    start(bundle, "train", "evaluate", num_workers=0, **few)
    with (bundle / "output" / "evaluate" / "summary.csv").open(encoding="utf-8") as file:
        measured = {row["metric"] for row in csv.DictReader(file)}
    assert {"dice", "iou", "hausdorff95", "soft_dice"} <= measured
    start(bundle, "inference", save_probabilities="true", **few)
    written = bundle / "output" / "inference"
    labels, uncertainty = (np.asarray(Image.open(written / f"a_{kind}.png")) for kind in ("seg", "uncertainty"))
    probabilities = np.asarray(nibabel.load(written / "a_probabilities.nii.gz").dataobj).squeeze()
    assert labels.shape == uncertainty.shape == (21, 37)
    assert set(np.unique(labels)) <= {0, 1}
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-3)
    sure = abs(probabilities[..., 1] - 0.5).T > 1e-4  # they are written in steps
    assert sure.any()
    np.testing.assert_array_equal(probabilities.argmax(-1).T[sure], labels[sure])


def test_classes_are_channels_of_the_label_map_and_the_image_is_the_context(tmp_path):
    bundle = tmp_path / "made"
    write(bundle, make_bundle("dsem_unet", "made", settings={"num_classes": 3, "in_channels": 2}))
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    parser["bundle_root"] = str(bundle)
    network = parser.get_parsed_content("network_def")
    assert (network.backbone.in_channels, network.backbone.out_channels) == (3, 3)
    assert (network.backbone.conditioning.context, network.backbone.conditioning.size) == ("image", 2)
