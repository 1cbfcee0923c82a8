"""Which images an encoder learns from, and what a batch of them says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flemme_monai.data import split_datalist
from flemme_monai.ssl import PretrainingBatch


def write(folder: Path, count: int, mask: bool = False) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.RandomState(i).randint(0, 255, (8, 8), np.uint8)
        Image.fromarray((pixels > 127) * np.uint8(255) if mask else pixels).save(folder / f"{folder.name}{i}.png")


def split(folder: Path | None, task: str, num_classes: int = 2) -> dict[str, list[str]]:
    found = split_datalist(folder, task, 2, 1, num_classes, 8)
    return {part: [case["case"] for case in cases] for part, cases in found.items()}


@pytest.mark.parametrize(
    "folders", [{"images": 10, "masks": 10}, {"imagesTr": 10, "labelsTr": 10, "imagesTs": 3}, {}], ids=str
)
def test_the_images_are_divided_as_for_the_training_that_follows(folders, tmp_path):
    for name, count in folders.items():
        write(tmp_path / name, count, mask=name in ("masks", "labelsTr"))
        for i, path in enumerate(sorted((tmp_path / name).iterdir())):
            path.rename(path.with_name(f"{'t' if name == 'imagesTs' else 'c'}{i}.png"))
    data = tmp_path if folders else None
    assert split(data, "pretraining") == split(data, "segmentation")


def test_images_alone_are_enough(tmp_path):
    write(tmp_path / "images", 10)
    found = split_datalist(tmp_path, "pretraining", 2, 1, 2, 8)
    assert {part: len(cases) for part, cases in found.items()} == {"train": 6, "val": 2, "test": 2}
    assert not any("label" in case for cases in found.values() for case in cases)


def test_labels_that_do_not_fit_are_left_out(tmp_path):
    write(tmp_path / "images", 5)
    (tmp_path / "masks").mkdir()
    colors = np.eye(4, 3, dtype=np.uint8)[np.arange(64).reshape(8, 8) % 4] * 255  # black and three more
    for i in range(5):
        Image.fromarray(colors).save(tmp_path / "masks" / f"images{i}.png")
    found = split_datalist(tmp_path, "pretraining", 2, 1, 2, 8)
    assert not any("label" in case for case in found["train"])


def test_a_case_has_one_number_and_a_slice_its_position():
    image = torch.randn(3, 1, 8, 8)
    batch = {"image": image, "view": image + 1, "case": ["a", "b", "a"], "slice": torch.tensor([4, 5, 6])}
    images, target, (view,), numbers = PretrainingBatch()(batch)
    assert images is target
    assert torch.equal(images, image)
    assert torch.equal(view, image + 1)
    assert numbers["case"][0] == numbers["case"][2] != numbers["case"][1]
    assert numbers["case"].min() >= 0
    assert numbers["position"].tolist() == [4, 5, 6]


def test_one_view_goes_alone():
    image = torch.randn(2, 1, 8, 8)
    images, _, more, numbers = PretrainingBatch()({"image": image, "case": ["a", "b"]})
    assert torch.equal(images, image)
    assert (more, numbers) == ((), {})
