"""What bundles train, evaluate and infer on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_json, write_nifti, write_picture

from flemme_monai.data import inference_list, split_datalist
from flemme_monai.transforms import LoadImageAndLabeld

SEGMENTATION = {"task": "segmentation", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "image_size": [16, 16]}
RECONSTRUCTION = {**SEGMENTATION, "task": "reconstruction", "out_channels": 1}
COLORS = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def pairs(folder: Path, count: int = 10) -> Path:
    for k in range(count):
        write_picture(folder / "images" / f"{k:02d}.png", random_picture(k))
        write_picture(folder / "masks" / f"{k:02d}.png", random_picture(k) // 128 * np.uint8(255))
    return folder


def decathlon(folder: Path, **parts: int) -> Path:
    listing = {}
    for part, count in parts.items():
        files = [f"{part}_{k}.nii.gz" for k in range(count)]
        for name in files:
            write_nifti(folder / name, np.zeros((4, 4, 4), np.uint8))
        listing[part] = [{"image": name, "label": name} for name in files]
    write_json(folder / "dataset.json", listing)
    return folder


def test_a_data_set_is_divided_in_the_order_of_names(tmp_path: Path) -> None:
    split = split_datalist(pairs(tmp_path), **SEGMENTATION)
    assert {part: len(cases) for part, cases in split.items()} == {"train": 6, "val": 2, "test": 2}
    assert names(split["train"]) == [f"{k:02d}" for k in range(6)]


def test_a_shuffled_split_is_decided_by_its_seed(tmp_path: Path) -> None:
    pairs(tmp_path)
    first, again, other = (
        names(split_datalist(tmp_path, **SEGMENTATION, shuffle_split=True, seed=seed)["train"]) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_fold_tests_its_own_cases(tmp_path: Path) -> None:
    split = split_datalist(pairs(tmp_path), **SEGMENTATION, fold=1, num_folds=5)
    assert names(split["test"]) == ["01", "06"]
    assert len(split["train"]) == 6


def test_a_split_file_decides(tmp_path: Path) -> None:
    file = write_json(tmp_path / "split.json", {"train": ["09"], "val": ["00"], "test": ["05"]})
    split = split_datalist(pairs(tmp_path / "set"), **SEGMENTATION, split_file=file, fold=1)
    assert [names(cases) for cases in split.values()] == [["09"], ["00"], ["05"]]


def test_named_parts_decide(tmp_path: Path) -> None:
    split = split_datalist(decathlon(tmp_path, training=4, validation=2, test=3), **SEGMENTATION)
    assert [len(cases) for cases in split.values()] == [4, 2, 3]


def test_named_test_cases_never_train(tmp_path: Path) -> None:
    decathlon(tmp_path, training=8, test=3)
    split = split_datalist(tmp_path, **SEGMENTATION)
    assert [len(cases) for cases in split.values()] == [6, 2, 3]
    split = split_datalist(tmp_path, **SEGMENTATION, fold=0, num_folds=4)
    assert [len(cases) for cases in split.values()] == [6, 2, 3]
    assert all(name.startswith("test") for name in names(split["test"]))


def test_named_test_cases_neither_train_nor_validate_in_slabs(tmp_path: Path) -> None:
    for part in ("training", "test"):
        for k in range(2):
            write_nifti(tmp_path / f"{part}_{k}.nii.gz", random_picture(k, (8, 8, 10)))
    listing = {part: [f"{part}_{k}.nii.gz" for k in range(2)] for part in ("training", "test")}
    write_json(tmp_path / "dataset.json", listing)
    split = split_datalist(tmp_path, **RECONSTRUCTION, split_by="slab")
    assert [names(cases) for cases in split.values()] == [
        ["training_0", "training_1"],
        ["training_0", "training_1"],
        ["test_0", "test_1"],
    ]
    assert [split["train"][0]["slab"], split["val"][0]["slab"]] == [(0, 6), (6, 10)]
    assert "slab" not in split["test"][0]


def test_reconstruction_takes_no_labels(tmp_path: Path) -> None:
    split = split_datalist(pairs(tmp_path), **RECONSTRUCTION)
    assert not any("label" in case for cases in split.values() for case in cases)


def test_too_few_cases_name_the_ways_out(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"has 1 case to divide.*split_by to slab.*split_file"):
        split_datalist(tmp_path, **RECONSTRUCTION)


def test_one_volume_is_divided_by_slabs(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", random_picture(size=(8, 8, 10)))
    split = split_datalist(tmp_path, **RECONSTRUCTION, split_by="slab")
    assert [cases[0]["slab"] for cases in split.values()] == [(0, 6), (6, 8), (8, 10)]


@pytest.mark.parametrize(
    "task", [SEGMENTATION, RECONSTRUCTION, {**RECONSTRUCTION, "task": "generation", "out_channels": None}]
)
def test_no_folder_makes_phantoms_and_says_so(task: dict, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    split = split_datalist(None, **task)
    assert all(cases[0]["image"].shape == (1, 16, 16) for cases in split.values())
    assert ("label" in split["train"][0]) == (task is SEGMENTATION)
    assert "80 phantoms of 16x16 voxels" in caplog.text


def test_a_missing_folder_makes_no_phantoms(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        split_datalist(tmp_path / "gone", **SEGMENTATION)
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        inference_list(tmp_path / "gone", **SEGMENTATION)


def test_pictures_are_refused_in_3d(tmp_path: Path) -> None:
    three = {**SEGMENTATION, "spatial_dims": 3, "image_size": [16, 16, 16]}
    with pytest.raises(ValueError, match=r"00\.png: is a 2D image; expected a volume, as spatial_dims is 3"):
        split_datalist(pairs(tmp_path), **three)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"task": "paint"}, "task is 'paint'; expected 'segmentation', .*"),
        (
            {"task": "classification", "out_channels": 1},
            "num_classes is 1 for classification; expected a number from 2",
        ),
        ({"task": "classification", "out_channels": None}, "num_classes is None"),
        ({"task": "generation", "out_channels": 1}, "num_classes is 1 for generation; .*or none for no classes"),
        ({"split_by": "slice"}, "split_by is 'slice'"),
        ({"task": "reconstruction", "out_channels": 3}, "out_channels is 3; expected in_channels, 1"),
        ({"fold": "null"}, "fold is 'null' of num_folds 5; expected whole numbers"),
        ({"fold": True}, "fold is True of num_folds 5; expected whole numbers"),
        ({"fold": 1, "num_folds": "5"}, "fold is 1 of num_folds '5'; expected whole numbers"),
        ({"spatial_dims": 4}, "spatial_dims is 4"),
        ({"image_size": [16]}, r"image_size is \[16\] while spatial_dims is 2"),
        ({"image_size": [16, 0]}, "image_size"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(setting: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split_datalist(None, **{**SEGMENTATION, **setting})


def test_one_number_is_the_size_of_every_axis() -> None:
    split = split_datalist(None, **{**SEGMENTATION, "image_size": 24})
    assert split["val"][0]["image"].shape == (1, 24, 24)


def coloured(folder: Path, colors: np.ndarray = COLORS) -> Path:
    for k in range(5):
        write_picture(folder / "images" / f"{k}.png", random_picture(k))
        write_picture(folder / "masks" / f"{k}.png", colors[random_picture(k) % len(colors)])
    return folder


def test_every_mask_of_a_coloured_data_set_gets_the_same_colours(tmp_path: Path) -> None:
    split = split_datalist(coloured(tmp_path), **{**SEGMENTATION, "out_channels": 3})
    expected = [tuple(color) for color in COLORS.tolist()]
    assert all(case["colors"] == expected for cases in split.values() for case in cases)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_another_number_of_colours_than_classes_is_refused(tmp_path: Path, num_classes: int) -> None:
    with pytest.raises(ValueError, match=rf"have 3 colours .* num_classes is {num_classes}.*colors\.json"):
        split_datalist(coloured(tmp_path), **{**SEGMENTATION, "out_channels": num_classes})


def test_colours_without_black_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="black for the background"):
        split_datalist(coloured(tmp_path, COLORS[1:]), **SEGMENTATION)


def test_a_file_of_colours_gives_their_classes(tmp_path: Path) -> None:
    write_json(tmp_path / "colors.json", COLORS[::-1].tolist())
    split = split_datalist(coloured(tmp_path), **{**SEGMENTATION, "out_channels": 3})
    assert split["train"][0]["colors"] == [(255, 0, 0), (0, 255, 0), (0, 0, 0)]


@pytest.mark.parametrize("content", [[[0, 0, 0]], "red", [[0, 0, 0], [0, 0, 300]], [[0, 0], [1]]])
def test_a_malformed_file_of_colours_is_named(tmp_path: Path, content) -> None:
    write_json(tmp_path / "colors.json", content)
    with pytest.raises(ValueError, match=r"colors\.json: "):
        split_datalist(coloured(tmp_path), **SEGMENTATION)


def test_inference_takes_every_case_and_needs_no_labels(tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "masks" / "03.png").unlink()
    cases = inference_list(tmp_path, **SEGMENTATION)
    assert len(cases) == 10
    assert ["label" in case for case in cases].count(True) == 9


def test_inference_knows_the_colours_of_the_masks_it_finds(tmp_path: Path) -> None:
    cases = inference_list(coloured(tmp_path), **{**SEGMENTATION, "out_channels": 3})
    assert {len(case["colors"]) for case in cases} == {3}


def test_inference_leaves_out_masks_that_do_not_fit_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cases = inference_list(coloured(tmp_path), **SEGMENTATION)
    assert len(cases) == 5
    assert not any("label" in case for case in cases)
    assert "the labels are left out" in caplog.text


def test_inference_without_folder_takes_the_test_phantoms() -> None:
    assert names(inference_list(None, **SEGMENTATION)) == names(split_datalist(None, **SEGMENTATION)["test"])


def test_the_nuclei_are_divided_as_their_page_says(data_dir: Path) -> None:
    split = split_datalist(data_dir / "nuclei", **SEGMENTATION)
    assert [len(cases) for cases in split.values()] == [120, 40, 40]


def test_the_hippocampus_is_a_decathlon(data_dir: Path) -> None:
    split = split_datalist(data_dir / "Task04_Hippocampus", **{**SEGMENTATION, "out_channels": 3})
    assert [len(cases) for cases in split.values()] == [120, 40, 40]


def test_a_folder_a_class_is_a_folder_of_images(data_dir: Path) -> None:
    assert len(inference_list(data_dir / "mednist", **RECONSTRUCTION)) == 1800


def test_instance_masks_become_one_label_map(tmp_path: Path) -> None:
    """The raw layout of the Data Science Bowl 2018: a folder a picture, a mask a nucleus."""
    for k in range(5):
        masks = np.zeros((2, 8, 8), np.uint8)
        masks[0, :3], masks[1, 5:, :k] = 255, 255
        write_picture(tmp_path / f"id{k}" / "images" / f"id{k}.png", random_picture(k, (8, 8)))
        for i, mask in enumerate(masks):
            write_picture(tmp_path / f"id{k}" / "masks" / f"{i}.png", mask)
    split = split_datalist(tmp_path, "segmentation", 2, 1, 2, 8)
    assert [[case["case"] for case in cases] for cases in split.values()] == [["id0", "id1", "id2"], ["id3"], ["id4"]]
    label = LoadImageAndLabeld(1, 2)(split["test"][0])["label"][0].T
    assert label.sum() == 3 * 8 + 3 * 4


@pytest.mark.parametrize("num_classes", ["3", 1, None, 2.0])
def test_the_classes_of_a_segmentation_are_a_number(num_classes) -> None:
    with pytest.raises(ValueError, match=f"num_classes is {num_classes!r} for segmentation; expected a number from 2"):
        split_datalist(None, **{**SEGMENTATION, "out_channels": num_classes})
