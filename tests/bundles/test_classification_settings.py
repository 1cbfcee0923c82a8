"""What the settings of a classification bundle do to its images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from flemme_monai.recipes import make_bundle


@pytest.fixture
def folders(tmp_path):
    """Two classes that differ in their grey level alone, six images each."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 20), ("light", 180)):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(random.integers(level, level + 40, (16, 16), dtype=np.uint8)).save(
                tmp_path / name / f"{i}.png"
            )
    return tmp_path


def images(folder, intensity_range) -> dict[str, torch.Tensor]:
    """The images (N, 1, 16, 16) of training, without augmentation, and of validation."""
    parser = ConfigParser(json.loads(make_bundle("clm_cnn")["configs/train.json"]))
    settings = {
        "dataset_dir": str(folder),
        "num_classes": 2,
        "image_size": [16, 16],
        "intensity_range": intensity_range,
    }
    none = {f"augmentation#{name}": 0.0 for name in ("flip", "rotate", "scale", "intensity", "noise")}
    for key, value in {**settings, **none}.items():
        parser[key] = value
    parts = {part: parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate")}
    return {part: torch.stack([torch.as_tensor(item["image"]) for item in data]) for part, data in parts.items()}


def test_each_image_has_its_own_range_by_default(folders):
    for values in images(folders, None).values():
        assert torch.equal(values.amin((1, 2, 3)), torch.zeros(len(values)))
        assert torch.equal(values.amax((1, 2, 3)), torch.ones(len(values)))


def test_an_intensity_range_keeps_grey_levels(folders):
    for values in images(folders, [0, 255]).values():
        means = values.mean((1, 2, 3))
        assert means.min() == pytest.approx(40 / 255, abs=0.03)
        assert means.max() == pytest.approx(200 / 255, abs=0.03)
