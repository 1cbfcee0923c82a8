"""How cases are divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_json, write_nifti, write_picture

from flemme_monai.data.divide import divide
from flemme_monai.data.splits import by_fold, by_share, split_by_file, split_by_slab

CASES = [{"case": f"{k:02d}", "image": f"{k:02d}.png"} for k in range(10)]


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def test_the_first_sixty_percent_train_then_twenty_and_twenty() -> None:
    split = divide(CASES, by_share())
    assert names(split["train"]) == [f"{k:02d}" for k in range(6)]
    assert names(split["val"]) == ["06", "07"]
    assert names(split["test"]) == ["08", "09"]


@pytest.mark.parametrize("count", range(3, 30))
def test_no_part_is_empty_and_every_case_is_used_once(count: int) -> None:
    split = divide([{"case": f"{k:02d}"} for k in range(count)], by_share())
    assert all(split.values())
    assert sorted(name for part in split.values() for name in names(part)) == [f"{k:02d}" for k in range(count)]


def test_over_all_folds_each_case_tests_once() -> None:
    tested = []
    for fold in range(4):
        split = divide(CASES, by_fold(fold, 4))
        assert sorted(name for part in split.values() for name in names(part)) == names(CASES)
        tested += names(split["test"])
    assert sorted(tested) == names(CASES)


@pytest.mark.parametrize(("fold", "num_folds"), [(0, 2), (5, 5), (-1, 5), (0, 11)])
def test_folds_that_do_not_fit_are_refused(fold: int, num_folds: int) -> None:
    with pytest.raises(ValueError, match="num_folds"):
        divide(CASES, by_fold(fold, num_folds))


def test_a_split_file_names_the_parts(tmp_path: Path) -> None:
    file = write_json(tmp_path / "split.json", {"train": ["03", "01"], "val": ["02"], "test": ["00"]})
    split = split_by_file(CASES, file)
    assert {part: names(cases) for part, cases in split.items()} == {
        "train": ["03", "01"],
        "val": ["02"],
        "test": ["00"],
    }


def test_validation_serves_as_test_where_none_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    split = split_by_file(CASES, write_json(tmp_path / "split.json", {"train": ["03"], "val": ["02"]}))
    assert names(split["test"]) == ["02"]
    assert "names no test cases: the validation cases serve as test" in caplog.text
    assert "leaves out 8 of 10 cases" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": ["00"]}, "expected .* with train and val"),
        ({"train": ["00"], "valid": ["01"]}, "has train, valid"),
        ({"train": ["00"], "val": ["99"]}, "val names case '99', which is not among the 10 cases"),
        ({"train": ["00"], "val": ["00"]}, "names case '00' twice"),
        ({"train": "00", "val": ["01"]}, "expected"),
        ({"train": [["00"]], "val": ["01"]}, "expected"),
        ([], "expected"),
    ],
)
def test_a_split_file_that_does_not_fit_is_named(tmp_path: Path, content, words: str) -> None:
    with pytest.raises(ValueError, match=rf"split\.json: .*{words}"):
        split_by_file(CASES, write_json(tmp_path / "split.json", content))


def test_a_split_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"train": ["00"], "val": ["01"], "test": ["02"]}', encoding="utf-8-sig")
    assert names(split_by_file(CASES, path)["test"]) == ["02"]


def test_a_missing_or_malformed_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"split\.json: no such split file"):
        split_by_file(CASES, tmp_path / "split.json")
    (tmp_path / "split.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"split\.json: is not JSON"):
        split_by_file(CASES, tmp_path / "split.json")


def test_slabs_lie_one_after_the_other_where_the_volume_has_content(tmp_path: Path) -> None:
    volume = np.zeros((8, 8, 30), np.uint8)
    volume[2:6, 2:6, 5:25] = 200
    case = {"case": "a", "image": str(write_nifti(tmp_path / "a.nii.gz", volume))}
    split = split_by_slab([case])
    assert [split[part][0]["slab"] for part in ("train", "val", "test")] == [(5, 17), (17, 21), (21, 25)]


def test_slabs_count_along_the_axial_axis_of_ras(tmp_path: Path) -> None:
    volume = np.zeros((30, 8, 8), np.uint8)
    volume[20:, 2:6, 2:6] = 200
    affine = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    case = {"case": "a", "image": str(write_nifti(tmp_path / "a.nii.gz", volume, affine))}
    assert [part[0]["slab"] for part in split_by_slab([case]).values()] == [(0, 6), (6, 8), (8, 10)]


def test_a_picture_or_an_empty_volume_has_no_slabs(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "a.png", random_picture())
    with pytest.raises(ValueError, match="case a: is a 2D image"):
        split_by_slab([{"case": "a", "image": str(picture)}])
    empty = write_nifti(tmp_path / "b.nii.gz", np.zeros((8, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="case b: has 0 slices with content"):
        split_by_slab([{"case": "b", "image": str(empty)}])


def test_each_part_has_its_share_of_each_class() -> None:
    cases = [{**case, "class_label": int(k >= 5), "class_name": "ab"[k >= 5]} for k, case in enumerate(CASES)]
    split = divide(cases, by_share())
    assert {part: names(found) for part, found in split.items()} == {
        "train": ["00", "01", "02", "05", "06", "07"],
        "val": ["03", "08"],
        "test": ["04", "09"],
    }


def test_a_class_that_cannot_be_divided_is_named() -> None:
    cases = [{**case, "class_label": int(k == 9), "class_name": "ab"[k == 9]} for k, case in enumerate(CASES)]
    with pytest.raises(ValueError, match=r"class b \(1\): num_folds is 3 for 1 case; at least 3"):
        divide(cases, by_fold(0, 3))
