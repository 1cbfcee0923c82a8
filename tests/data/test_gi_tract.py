"""The layout of Kaggle's GI tract challenge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gi_files import loaded, split, write_gi, write_scan, write_table

from flemme_monai.data import inference_list
from flemme_monai.data.gi_sample import write_gi_sample


def test_a_slice_has_a_mask_of_each_organ_and_they_may_overlap(tmp_path):
    item = loaded(split(write_gi(tmp_path))["train"][0])
    label = item["label"]
    assert tuple(label.shape) == (3, 6, 4)  # of width 6 and height 4
    large, small, stomach = label.as_tensor().mT  # as rows
    assert large[0].tolist() == [0, 1, 1, 1, 0, 0]
    assert small[0].tolist() == [0, 0, 1, 1, 1, 0]
    assert not large[1:].any()
    assert not stomach.any()
    assert label.dtype == torch.uint8


def test_all_16_bits_of_a_slice_are_read(tmp_path):
    name = write_scan(tmp_path, "case1", "day0", 1, np.arange(24).reshape(4, 6) * 2000)
    write_table(tmp_path, {name: ("", "", "")})
    (case,) = inference_list(tmp_path, "segmentation", 2, 1, 3, 4, multi_label=True)
    assert loaded(case)["image"].max() == 46000


def test_the_spacing_of_the_files_name_is_the_affines(tmp_path):
    item = loaded(split(write_gi(tmp_path))["train"][0])  # 6_4_1.50_1.60: width and height
    for key in ("image", "label"):
        assert item[key].affine.diagonal().tolist() == [1.5, 1.6, 1, 1]


def test_the_names_numbers_may_be_height_and_width(tmp_path):
    name = write_scan(tmp_path, "case1", "day0", 1, np.zeros((4, 6)))
    scans = tmp_path / "train/case1/case1_day0/scans"
    (scans / "slice_0001_6_4_1.50_1.60.png").rename(scans / "slice_0001_4_6_1.60_1.50.png")
    write_table(tmp_path, {name: ("", "", "")})
    (case,) = inference_list(tmp_path, "segmentation", 2, 1, 3, 4, multi_label=True)
    assert loaded(case)["image"].affine.diagonal().tolist() == [1.5, 1.6, 1, 1]


def test_an_image_of_another_size_than_its_name_says_is_refused(tmp_path):
    name = write_scan(tmp_path, "case1", "day0", 1, np.zeros((4, 6)))
    scans = tmp_path / "train/case1/case1_day0/scans"
    (scans / "slice_0001_6_4_1.50_1.60.png").rename(scans / "slice_0001_6_5_1.50_1.60.png")
    write_table(tmp_path, {name: ("", "", "")})
    (case,) = inference_list(tmp_path, "segmentation", 2, 1, 3, 4, multi_label=True)
    with pytest.raises(ValueError, match=r"slice_0001_6_5_1.50_1.60.png: has 6x4 pixels; expected 6x5"):
        loaded(case)


def test_cases_are_divided_by_patient(tmp_path):
    folder = write_gi(tmp_path, cases=5, slices=3)
    found = split(folder)
    patients = {part: {case["case"].partition("/")[0] for case in cases} for part, cases in found.items()}
    assert [len(names) for names in patients.values()] == [3, 1, 1]
    assert len(set.union(*patients.values())) == 5
    assert found["train"][0]["case"] == "case1/case1_day0_slice_0001"


def test_days_of_a_patient_stay_together_also_where_there_are_too_few_patients(tmp_path):
    codes = {
        write_scan(tmp_path, "case1", f"day{day}", number, np.zeros((4, 6))): ("", "", "")
        for day in range(3)
        for number in (1, 2)
    }
    write_table(tmp_path, codes)
    with pytest.raises(ValueError, match="1 group"):
        split(tmp_path)


def test_cases_days_and_slices_are_in_the_order_of_their_numbers(tmp_path):
    codes = {
        write_scan(tmp_path, case, day, 1, np.zeros((4, 6))): ("", "", "")
        for case, day in (("case10", "day0"), ("case9", "day20"), ("case9", "day3"))
    }
    write_table(tmp_path, codes)
    cases = inference_list(tmp_path, "segmentation", 2, 1, 3, 4, multi_label=True)
    assert [case["case"].split("/")[1] for case in cases] == [
        "case9_day3_slice_0001",
        "case9_day20_slice_0001",
        "case10_day0_slice_0001",
    ]


def test_scans_alone_are_images_of_inference(tmp_path):
    write_gi(tmp_path)
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train").rename(tmp_path / "test")
    cases = inference_list(tmp_path, "segmentation", 2, 1, 3, 4, multi_label=True)
    assert len(cases) == 6
    assert all("label" not in case for case in cases)


def table(folder):
    return (folder / "train.csv").read_text(encoding="utf-8").splitlines()


def rewritten(folder, lines):
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_bad_code_is_refused_with_its_line(tmp_path):
    lines = table(write_gi(tmp_path))
    lines[2] = lines[2] + " 30 1"  # past the 24 pixels
    rewritten(tmp_path, lines)
    with pytest.raises(ValueError, match=r"train\.csv:3: the run '30 1' ends at pixel 30; expected at most 24"):
        loaded(split(tmp_path)["train"][0])


def test_a_slice_that_is_missing_is_refused_with_its_line(tmp_path):
    write_gi(tmp_path)
    next((tmp_path / "train/case1/case1_day0/scans").glob("slice_0002*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.csv:5: there is no image of case1_day0_slice_0002"):
        split(tmp_path)


def test_a_slice_without_lines_is_refused(tmp_path):
    write_gi(tmp_path)
    write_scan(tmp_path, "case1", "day0", 9, np.zeros((4, 6)))
    with pytest.raises(ValueError, match=r"slice_0009_.*has no line of case1_day0_slice_0009"):
        split(tmp_path)


def test_a_line_that_is_missing_or_twice_is_refused(tmp_path):
    lines = table(write_gi(tmp_path))
    rewritten(tmp_path, lines[:3] + lines[4:])
    with pytest.raises(ValueError, match=r"train\.csv:2: there is no line of stomach of case1_day0_slice_0001"):
        split(tmp_path)
    rewritten(tmp_path, [*lines, lines[1]])
    with pytest.raises(ValueError, match=r"train\.csv:20: has large_bowel of case1_day0_slice_0001, as line 2 has"):
        split(tmp_path)


def test_a_table_of_other_columns_or_words_is_refused(tmp_path):
    lines = table(write_gi(tmp_path))
    rewritten(tmp_path, ["id,class,code", *lines[1:]])
    with pytest.raises(ValueError, match=r"train\.csv:1: has the columns id, class, code; expected id, class, segm"):
        split(tmp_path)
    rewritten(tmp_path, [*lines[:3], "case1_day0_slice_0001"])
    with pytest.raises(ValueError, match=r"train\.csv:4: expected id, class, segmentation"):
        split(tmp_path)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    folder = write_gi(tmp_path)
    with pytest.raises(ValueError, match="whose organs overlap, while multi_label is false; expected true"):
        split(folder, multi_label=False)
    with pytest.raises(ValueError, match=r"of the 3 classes large_bowel, small_bowel, stomach while num_classes is 4"):
        split(folder, out_channels=4)
    with pytest.raises(ValueError, match=r"class_names is \['stomach', .*; expected \['large_bowel', "):
        split(folder, class_names=["stomach", "small_bowel", "large_bowel"])


def test_a_file_of_another_name_is_refused(tmp_path):
    folder = write_gi(tmp_path)
    (folder / "train/case1/case1_day0/scans/slice_1.png").touch()
    with pytest.raises(ValueError, match=r"slice_1\.png: expected the name slice_<number>_<width>_<height>"):
        split(folder)


def test_other_tasks_take_the_slices_without_their_masks(tmp_path):
    cases = split(write_gi(tmp_path), task="reconstruction", out_channels=1, multi_label=False)["train"]
    assert cases
    assert all("label" not in case for case in cases)


def test_a_changed_mask_is_another_label_of_the_recorded_split(tmp_path):
    lines = table(write_gi(tmp_path))
    before = split(tmp_path)["train"].source.label_fingerprints
    lines[1] = lines[1].replace("2 3", "2 4")
    rewritten(tmp_path, lines)
    after = split(tmp_path)["train"].source.label_fingerprints
    assert [name for name in before if before[name] != after[name]] == ["case1/case1_day0_slice_0001"]


def test_the_sample_is_in_this_layout_with_overlaps_and_empty_slices(tmp_path):
    number = write_gi_sample(tmp_path / "a", num_cases=3, num_slices=6, seed=0)
    assert number == 30  # of two days of cases 1 and 3, and one of case 2
    cases = [case for part in split(tmp_path / "a").values() for case in part]
    labels = [loaded(case)["label"] for case in cases]
    assert len(cases) == number
    assert any((label.sum(0) > 1).any() for label in labels)
    assert any(not label.any() for label in labels)
    assert all(any(label[organ].any() for label in labels) for organ in range(3))
    write_gi_sample(tmp_path / "b", num_cases=3, num_slices=6, seed=0)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    with pytest.raises(ValueError, match="holds something; expected a new or an empty folder"):
        write_gi_sample(tmp_path / "a", num_cases=3, num_slices=6, seed=0)
