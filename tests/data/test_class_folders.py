"""A folder of images for each class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from image_files import random_picture, write_json, write_nifti, write_picture
from monai.data import DataLoader
from monai.transforms import Compose

from flemme_monai.data import CaseDataset, inference_list, split_datalist
from flemme_monai.transforms import LoadImageAndLabeld

CLASSIFICATION = {
    "task": "classification",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 3,
    "image_size": [16, 16],
}
GENERATION = {**CLASSIFICATION, "task": "generation"}
UNCONDITIONAL = {**GENERATION, "out_channels": None}


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def classes(folder: Path, count: int = 5) -> Path:
    for name in ("hand", "chest", "head"):
        for k in range(count):
            write_picture(folder / name / f"{k:02d}.png", random_picture(k))
    return folder


@pytest.mark.parametrize("task", [CLASSIFICATION, GENERATION])
def test_classes_are_numbered_in_the_order_of_their_folders(tmp_path: Path, task: dict) -> None:
    cases = inference_list(classes(tmp_path), **task)
    assert {(case["class_label"], case["class_name"]) for case in cases} == {(0, "chest"), (1, "hand"), (2, "head")}
    assert cases[5]["case"] == "hand/00"
    assert len(set(names(cases))) == 15


def test_every_part_has_its_share_of_every_class(tmp_path: Path) -> None:
    split = split_datalist(classes(tmp_path), **CLASSIFICATION)
    counts = {part: Counter(case["class_label"] for case in cases) for part, cases in split.items()}
    assert counts == {"train": {0: 3, 1: 3, 2: 3}, "val": {0: 1, 1: 1, 2: 1}, "test": {0: 1, 1: 1, 2: 1}}
    assert names(split["train"])[:4] == ["chest/00", "chest/01", "chest/02", "hand/00"]
    assert names(split["test"]) == ["chest/04", "hand/04", "head/04"]


def test_over_all_folds_each_case_tests_once_and_each_fold_has_every_class(tmp_path: Path) -> None:
    classes(tmp_path)
    folds = [split_datalist(tmp_path, **CLASSIFICATION, fold=fold, num_folds=4)["test"] for fold in range(4)]
    assert sorted(name for cases in folds for name in names(cases)) == sorted(
        names(inference_list(tmp_path, **CLASSIFICATION))
    )
    assert all({case["class_label"] for case in cases} == {0, 1, 2} for cases in folds)


def test_a_shuffled_split_has_its_share_of_every_class(tmp_path: Path) -> None:
    split = split_datalist(classes(tmp_path), **CLASSIFICATION, shuffle_split=True, seed=3)
    assert Counter(case["class_label"] for case in split["train"]) == {0: 3, 1: 3, 2: 3}
    assert names(split["train"]) != names(split_datalist(tmp_path, **CLASSIFICATION)["train"])


def test_a_split_file_names_cases_with_their_folder(tmp_path: Path) -> None:
    file = write_json(tmp_path / "split.json", {"train": ["hand/00", "head/01"], "val": ["chest/02"]})
    split = split_datalist(classes(tmp_path / "set"), **CLASSIFICATION, split_file=file)
    assert names(split["train"]) == ["hand/00", "head/01"]


@pytest.mark.parametrize("num_classes", [2, 4])
def test_another_number_of_folders_than_classes_is_refused(tmp_path: Path, num_classes: int) -> None:
    with pytest.raises(ValueError, match=rf"has 3 folders while num_classes is {num_classes}.*chest/, hand/, head/"):
        split_datalist(classes(tmp_path), **{**CLASSIFICATION, "out_channels": num_classes})


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    (classes(tmp_path) / "hand").rename(tmp_path / "foot")
    (tmp_path / "hand").mkdir()
    with pytest.raises(ValueError, match=r"hand: holds no image"):
        split_datalist(tmp_path, **{**CLASSIFICATION, "out_channels": 4})


def test_a_class_of_two_cases_cannot_be_divided(tmp_path: Path) -> None:
    (classes(tmp_path, count=3) / "hand" / "01.png").unlink()
    with pytest.raises(ValueError, match=r"class hand \(1\): .*has 2 cases to divide"):
        split_datalist(tmp_path, **CLASSIFICATION)


def test_an_image_beside_the_classes_is_refused(tmp_path: Path) -> None:
    write_picture(classes(tmp_path) / "stray.png", random_picture())
    with pytest.raises(ValueError, match=r"stray\.png: lies beside the folders"):
        split_datalist(tmp_path, **CLASSIFICATION)


def test_files_of_the_operating_system_are_no_classes(tmp_path: Path) -> None:
    (classes(tmp_path) / "__MACOSX").mkdir()
    (tmp_path / ".cache").mkdir()
    assert len(inference_list(tmp_path, **CLASSIFICATION)) == 15


def test_inference_needs_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for folder, count in ((classes(tmp_path) / "hand", 5), (tmp_path, 15)):
        cases = inference_list(folder, **{**CLASSIFICATION, "out_channels": 4})
        assert len(cases) == count
        assert not any("class_label" in case for case in cases)
    assert "the classes are left out: " in caplog.text


def test_generation_without_classes_takes_any_images(tmp_path: Path) -> None:
    split = split_datalist(classes(tmp_path), **UNCONDITIONAL)
    assert sum(map(len, split.values())) == 15
    assert not any("class_label" in case for cases in split.values() for case in cases)


def test_pictures_are_refused_in_3d(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a 2D image; expected a volume, as spatial_dims is 3"):
        split_datalist(classes(tmp_path), **{**CLASSIFICATION, "spatial_dims": 3, "image_size": 16})


def test_a_batch_has_its_classes_as_int64(tmp_path: Path) -> None:
    cases = inference_list(classes(tmp_path), **CLASSIFICATION)
    batch = next(iter(DataLoader(CaseDataset(cases, Compose([LoadImageAndLabeld(1)]), progress=False), batch_size=15)))
    assert batch["class_label"].dtype == torch.int64
    assert batch["class_label"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert batch["class_name"][-1] == "head"


def test_slices_have_the_class_of_their_volume(tmp_path: Path) -> None:
    for k, name in enumerate("abc"):
        write_nifti(tmp_path / name / "0.nii.gz", random_picture(k, (6, 5, 4)))
    cases = inference_list(tmp_path, **CLASSIFICATION)
    dataset = CaseDataset(cases, Compose([LoadImageAndLabeld(1)]), slices=True, progress=False)
    assert [(item["class_label"], item["slice"]) for item in dataset] == [(k, at) for k in range(3) for at in range(4)]


def test_mednist_has_six_classes(data_dir: Path) -> None:
    split = split_datalist(data_dir / "mednist", **{**CLASSIFICATION, "out_channels": 6})
    assert [len(cases) for cases in split.values()] == [1080, 360, 360]
    assert Counter(case["class_label"] for case in split["test"]) == dict.fromkeys(range(6), 60)


def test_classes_below_train_and_test_are_divided_alike_with_and_without_classes(tmp_path: Path) -> None:
    classes(tmp_path / "train", 8)
    classes(tmp_path / "test", 2)
    split = split_datalist(tmp_path, **CLASSIFICATION)
    assert {part: Counter(case["class_name"] for case in cases) for part, cases in split.items()} == {
        "train": {"chest": 6, "hand": 6, "head": 6},
        "val": {"chest": 2, "hand": 2, "head": 2},
        "test": {"chest": 2, "hand": 2, "head": 2},
    }
    assert all(case["case"].startswith("test/") for case in split["test"])
    without = split_datalist(tmp_path, **UNCONDITIONAL)
    for part, cases in split.items():
        assert sorted(names(without[part])) == sorted(names(cases))
        folds = [split_datalist(tmp_path, **task, fold=1) for task in (CLASSIFICATION, UNCONDITIONAL)]
        assert len({tuple(sorted(names(found[part]))) for found in folds}) == 1


def test_parts_with_other_classes_are_refused(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    for name in ("hand", "foot", "head"):
        write_picture(tmp_path / "test" / name / "a.png", random_picture(0))
    with pytest.raises(ValueError, match=r"train: has the classes chest, hand, head while .*test has foot, hand, head"):
        split_datalist(tmp_path, **CLASSIFICATION)
