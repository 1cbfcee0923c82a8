"""A bundle whose network aligns its image, from training to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusal import refused
from small_runs import SMALL, data_set, start

from flemme_monai.recipes import make_bundle, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_set(tmp_path)


@pytest.mark.parametrize("pair", ["sem_unet", pytest.param("hsem_unet", marks=pytest.mark.slow)])
def test_evaluation_and_inference_take_the_alignment_from_the_record(pair: str, data: Path, tmp_path: Path) -> None:
    bundle = tmp_path / pair
    write(bundle, make_bundle(pair, settings=SMALL))
    training = {"image_size": [16, 16], "batch_size": 4, "num_workers": 0, "epochs": 1, "dataset_dir": str(data)}
    rigid = {"network_def#alignment#transform": "rigid"}
    start(bundle, "train", stn="true", stn_penalty=0.2, **rigid, **training)
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert weights["alignment.head.weight"].shape == (3, 32)
    assert weights["alignment.head.weight"].any()
    record = json.loads((bundle / "models" / "network.json").read_text(encoding="utf-8"))
    assert record["settings"]["stn"] is True
    assert record["network"]["alignment"]["transform"] == "rigid"
    with (bundle / "output" / "train" / "metrics.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    terms = [float(value) for name, value in row.items() if name.startswith("loss_")]
    assert "loss_alignment" in row
    assert float(row["loss"]) == pytest.approx(sum(terms), rel=1e-3)
    start(bundle, "train", "evaluate", dataset_dir=str(data), num_workers=0)
    assert (bundle / "output" / "evaluate" / "summary.csv").is_file()
    start(bundle, "inference", dataset_dir=str(data / "images"))
    masks = sorted((bundle / "output" / "inference").rglob("*_seg.png"))
    assert [Image.open(mask).size for mask in masks] == [(37, 21)] * 6
    folders = {"output_dir": tmp_path / "out"}
    line = refused(bundle, "inference", folders, bundle_root=str(bundle), dataset_dir=str(data / "images"), stn=False)
    assert "stn is False here and True in" in line
