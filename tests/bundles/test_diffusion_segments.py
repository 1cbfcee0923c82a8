"""A bundle that segments by diffusion, from training to files."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image
from small_runs import SMALL as SMALL_RUN
from small_runs import data_set, start

from flemme_monai.recipes import make_bundle, write

SMALL = {**SMALL_RUN, "network_def#backbone#family#self_attention": False}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_set(tmp_path)


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
