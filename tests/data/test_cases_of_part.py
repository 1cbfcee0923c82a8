"""Inference on a part of a training's cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_files import write_nifti

from flemme_monai.data import inference_list
from flemme_monai.data.fingerprint import fingerprint

SETTINGS = {"task": "segmentation", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "image_size": 8}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in "abcd":
        write_nifti(tmp_path / "data" / "images" / f"{name}.nii.gz", np.full((4, 4, 4), ord(name), np.float32))
    return tmp_path / "data"


def record(data: Path, path: Path, **parts: list[str]) -> str:
    """A training's split of these cases."""
    cases = inference_list(data, **SETTINGS)
    split = {part: parts.get(part, []) for part in ("train", "val", "test")}
    prints = {case["case"]: fingerprint(case) for case in cases}
    path.write_text(json.dumps({"settings": {}, **split, "fingerprints": prints}), encoding="utf-8")
    return str(path)


def names(data: Path, **part) -> list[str]:
    return [case["case"] for case in inference_list(data, **SETTINGS, **part)]


def test_a_part_is_that_of_the_split_and_of_several_what_all_have(data, tmp_path):
    first = record(data, tmp_path / "1.json", train=["a"], val=["b"], test=["d", "c"])
    second = record(data, tmp_path / "2.json", train=["b"], val=["d"], test=["c"])
    assert names(data) == ["a", "b", "c", "d"]
    assert names(data, part="test", record=first) == ["d", "c"]
    assert names(data, part="val", record=first) == ["b"]
    assert names(data, part="test", record=[first, second]) == ["c"]


def test_what_is_not_the_training_s_is_refused(data, tmp_path):
    split = record(data, tmp_path / "1.json", train=["a"], val=["b"], test=["d"])
    with pytest.raises(ValueError, match="part is 'tests'; expected one of train, val, test"):
        names(data, part="tests", record=split)
    with pytest.raises(ValueError, match=r"there is no split\.json beside the weights"):
        names(data, part="test", record=str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match="there is no dataset_dir"):
        inference_list(None, **SETTINGS, part="test", record=split)
    write_nifti(data / "images" / "d.nii.gz", np.zeros((4, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"1 of the 1 test cases of .*1\.json are missing, changed or slabs \(d\)"):
        names(data, part="test", record=split)
