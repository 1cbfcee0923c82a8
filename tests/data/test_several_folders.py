"""Several folders as one data set, folders by part, and folders with names of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_picture

from flemme_monai.data import inference_list, split_datalist
from flemme_monai.data.folder_names import folder_names, modality_cases

SEGMENTATION = {"task": "segmentation", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "image_size": 8}


def pairs(folder: Path, *names: str, images: str = "images", masks: str = "masks") -> Path:
    """A data set of these cases, each with a mask."""
    for name in names:
        write_picture(folder / images / f"{name}.png", random_picture(size=(8, 8)))
        write_picture(folder / masks / f"{name}.png", np.eye(8, dtype=np.uint8) * 255)
    return folder


def cases(split: dict) -> dict[str, list[str]]:
    return {part: [case["case"] for case in items] for part, items in split.items()}


def test_several_folders_are_one_data_set_whose_cases_are_called_by_their_folder(tmp_path: Path) -> None:
    folders = [str(pairs(tmp_path / "fold1", "a", "b", "c")), str(pairs(tmp_path / "fold2", "a", "b", "c"))]
    split = cases(split_datalist(folders, **SEGMENTATION))
    assert split == {
        "train": ["fold1/a", "fold2/a"],
        "val": ["fold1/b", "fold2/b"],
        "test": ["fold1/c", "fold2/c"],
    }


def test_folders_of_one_name_are_told_apart_by_those_above(tmp_path: Path) -> None:
    folders = [str(pairs(tmp_path / place / "data", "a", "b", "c")) for place in ("x", "y")]
    assert cases(split_datalist(folders, **SEGMENTATION))["train"] == ["x_data/a", "y_data/a"]


def test_folders_by_part_are_the_split(tmp_path: Path) -> None:
    folders = {
        "train": [str(pairs(tmp_path / "fold1", "a")), str(pairs(tmp_path / "fold2", "a"))],
        "val": str(pairs(tmp_path / "fold3", "a")),
        "test": str(pairs(tmp_path / "fold4", "a")),
    }
    split = cases(split_datalist(folders, **SEGMENTATION))
    assert split == {"train": ["fold1/a", "fold2/a"], "val": ["fold3/a"], "test": ["fold4/a"]}
    del folders["test"]
    assert cases(split_datalist(folders, **SEGMENTATION))["test"] == ["fold3/a"]


def test_classes_of_several_folders_come_first_in_the_names(tmp_path: Path) -> None:
    for fold in ("fold1", "fold2"):
        for kind in ("chest", "hand"):
            for name in "abc":
                write_picture(tmp_path / fold / kind / f"{name}.png", random_picture(size=(4, 4)))
    folders = [str(tmp_path / "fold1"), str(tmp_path / "fold2")]
    arguments = {"spatial_dims": 2, "in_channels": 1, "image_size": 8}
    split = split_datalist(folders, "classification", out_channels=2, **arguments)
    alone = split_datalist(folders, "generation", out_channels=None, **arguments)
    assert cases(split) == cases(alone)  # a split depends on the files, not on the classes
    assert split["train"][0]["case"] == "chest/fold1/a"
    assert {case["class_label"] for case in split["test"]} == {0, 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda a: [a, a], "twice"),
        (lambda a: {"train": a}, "expected train and val"),
        (lambda a: {"train": a, "valid": a}, "expected train and val"),
        (lambda a: [], "twice"),
    ],
)
def test_folders_that_make_no_data_set_are_refused(tmp_path: Path, given, message: str) -> None:
    folder = str(pairs(tmp_path / "a", "a", "b", "c"))
    with pytest.raises(ValueError, match=message):
        split_datalist(given(folder), **SEGMENTATION)


def test_folders_may_have_names_of_their_own(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b", "c", images="raw", masks="truth")
    split = split_datalist(str(tmp_path), **SEGMENTATION, image_folders="raw", label_folder="truth")
    assert cases(split)["train"] == ["a"]
    assert split["train"][0]["label"] == str(tmp_path / "truth" / "a.png")
    with pytest.raises(ValueError, match="looked for other/"):
        split_datalist(str(tmp_path), **SEGMENTATION, image_folders="other", label_folder="truth")
    with pytest.raises(ValueError, match="expected one name"):
        folder_names("../raw")


def test_images_of_an_inference_need_no_such_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", random_picture(size=(4, 4)))
    found = inference_list(str(tmp_path), **SEGMENTATION, image_folders="raw")
    assert [case["case"] for case in found] == ["x"]


def test_modalities_of_several_folders_are_channels(tmp_path: Path) -> None:
    for modality in ("flair", "t1"):
        for name in "abc":
            write_picture(tmp_path / modality / f"{name}_{modality}.png", random_picture(size=(8, 8)))
            write_picture(tmp_path / "seg" / f"{name}_seg.png", np.eye(8, dtype=np.uint8) * 255)
    arguments = {**SEGMENTATION, "in_channels": 2}
    split = split_datalist(str(tmp_path), **arguments, image_folders=["flair", "t1"], label_folder="seg")
    assert split["train"][0] == {
        "case": "a",
        "image": [str(tmp_path / "flair" / "a_flair.png"), str(tmp_path / "t1" / "a_t1.png")],
        "label": str(tmp_path / "seg" / "a_seg.png"),
    }
    with pytest.raises(ValueError, match="set in_channels to 2"):
        modality_cases([tmp_path / "flair", tmp_path / "t1"], 3)
    (tmp_path / "t1" / "b_t1.png").unlink()
    with pytest.raises(ValueError, match="has no image of case b"):
        modality_cases([tmp_path / "flair", tmp_path / "t1"], 2)


def test_modalities_may_lie_in_folders_of_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for folder in ("flair", "t1", "masks"):
            write_picture(tmp_path / part / folder / f"{part}_a.png", np.eye(8, dtype=np.uint8) * 255)
    split = split_datalist(str(tmp_path), **{**SEGMENTATION, "in_channels": 2}, image_folders=["flair", "t1"])
    assert cases(split) == {"train": ["train/train_a"], "val": ["val/val_a"], "test": ["val/val_a"]}


def test_shares_of_the_parts_are_a_setting(tmp_path: Path) -> None:
    pairs(tmp_path, *(f"{i:02d}" for i in range(10)))
    split = split_datalist(str(tmp_path), **SEGMENTATION, split=[0.8, 0.1, 0.1])
    assert {part: len(items) for part, items in split.items()} == {"train": 8, "val": 1, "test": 1}
    for wrong in ([0.8, 0.2], [0.8, 0.1, 0.2], [1.0, 0.0, 0.0], "0.8"):
        with pytest.raises(ValueError, match="which add up to 1"):
            split_datalist(str(tmp_path), **SEGMENTATION, split=wrong)


def test_pairs_of_a_reconstruction_lie_side_by_side(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b", "c", images="inputs", masks="targets")
    arguments = {**SEGMENTATION, "task": "reconstruction", "out_channels": 1}
    split = split_datalist(str(tmp_path), **arguments, pairs=True)
    assert split["val"] == [
        {"case": "b", "image": str(tmp_path / "inputs" / "b.png"), "target": str(tmp_path / "targets" / "b.png")}
    ]
    assert len(inference_list(str(tmp_path), **arguments, pairs=True)) == 3
    (tmp_path / "targets" / "b.png").unlink()
    with pytest.raises(ValueError, match="has no mask in"):
        split_datalist(str(tmp_path), **arguments, pairs=True)


def test_whole_images_of_a_segmentation_may_have_classes(tmp_path: Path) -> None:
    pairs(tmp_path, "bright/a", "bright/b", "bright/c", "dark/a", "dark/b", "dark/c")
    split = split_datalist(str(tmp_path), **SEGMENTATION, condition_classes=2)
    assert [(case["case"], case["class_label"], case["class_name"]) for case in split["test"]] == [
        ("bright/c", 0, "bright"),
        ("dark/c", 1, "dark"),
    ]
    phantoms = split_datalist(None, **SEGMENTATION, condition_classes=3)["train"]
    assert {case["class_label"] for case in phantoms} == {0, 1, 2}
    with pytest.raises(ValueError, match=r"in 2 sub-folders \(bright, dark\) while condition_classes is 3"):
        split_datalist(str(tmp_path), **SEGMENTATION, condition_classes=3)
