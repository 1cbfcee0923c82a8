"""Masks of classes that may overlap, in ``masks/<class>/`` and as predictions."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from gi_files import loaded, split, write_class_masks, write_gi

from flemme_monai.data import class_names, inference_list, with_predictions
from flemme_monai.data.class_masks import ClassMasks


def test_a_folder_per_class_is_a_channel_per_class(tmp_path):
    cases = split(write_class_masks(tmp_path), out_channels=2)
    first, last = (loaded(cases[part][0], num_classes=2)["label"] for part in ("train", "test"))
    bone, skin = first.as_tensor().mT
    assert bone[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert skin[0].tolist() == [0, 0, 1, 1, 1, 0]
    assert last[0].any()
    assert not last[1].any()
    assert class_names(cases["train"]) == ["bone", "skin"]


def test_volumes_have_masks_of_each_class_too(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.diag([2.0, 1, 1, 1]))
    for name, depth in (("images", 0), ("masks/bone", 3), ("masks/skin", 6)):
        (tmp_path / name).mkdir(parents=True)
        values = np.zeros((4, 5, 6), np.uint8)
        values[..., :depth] = 1
        for case in "abc":
            nibabel.save(nibabel.Nifti1Image(values, image.affine), tmp_path / name / f"{case}.nii.gz")
    case = split(tmp_path, out_channels=2)["train"][0]
    label = loaded(case, num_classes=2)["label"]
    assert label.sum((1, 2, 3)).tolist() == [60, 120]
    moved = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([9.0, 1, 1, 1]))
    nibabel.save(moved, tmp_path / "masks/skin/a.nii.gz")
    with pytest.raises(ValueError, match=r"a\.nii\.gz: lies .* voxels off .*bone"):
        loaded(case, num_classes=2)


def test_masks_that_fit_nothing_are_refused(tmp_path):
    folder = write_class_masks(tmp_path)
    (folder / "masks/skin/a0.png").rename(folder / "masks/skin/b0.png")
    with pytest.raises(ValueError, match=r"b0\.png: no image has this mask's name"):
        split(folder, out_channels=2)
    (folder / "masks/skin/b0.png").rename(folder / "masks/a0.png")
    with pytest.raises(ValueError, match=r"masks: holds a0\.png; expected one folder of masks per class"):
        split(folder, out_channels=2)


def test_masks_of_other_values_or_sizes_are_refused(tmp_path):
    from PIL import Image

    folder = write_class_masks(tmp_path)
    case = split(folder, out_channels=2)["train"][0]
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(folder / "masks/skin/a0.png")
    with pytest.raises(ValueError, match="label 7 is beyond num_classes 2"):
        loaded(case, num_classes=2)
    Image.fromarray(np.zeros((3, 6), np.uint8)).save(folder / "masks/skin/a0.png")
    with pytest.raises(ValueError, match=r"a0\.png: has the shape \(6, 3\); expected \(6, 4\)"):
        loaded(case, num_classes=2)


def test_another_layout_is_refused_for_multi_label(tmp_path):
    (tmp_path / "a.nii").touch()
    with pytest.raises(ValueError, match="is no data set of multi_label; expected images/ beside masks/<class>/"):
        split(tmp_path, out_channels=2)


def test_names_of_classes_are_those_given_else_those_of_the_data_else_numbers(tmp_path):
    cases = split(write_gi(tmp_path))["test"]
    assert class_names(cases, None, 3, True) == ["large_bowel", "small_bowel", "stomach"]
    assert class_names([], ["a", "b"], 2, True) == ["a", "b"]
    assert class_names([], None, 2, True) == ["1", "2"]
    assert class_names([], None, 2) is None
    with pytest.raises(ValueError, match=r"class_names is \['a'\]; expected 2 names"):
        class_names([], ["a"], 2, True)


def test_phantoms_have_masks_of_each_organ():
    label = split(None)["train"][0]["label"]
    assert tuple(label.shape) == (3, 4, 4)


def test_predictions_are_found_by_class_and_case(tmp_path):
    parts = split(write_gi(tmp_path / "data"))
    names = class_names(parts["test"])
    for name in names:
        for case in parts["test"]:
            path = tmp_path / "found" / name / f"{case['case']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = with_predictions(parts, "test", tmp_path / "found", names)
    assert (
        ClassMasks.of_text(found[0]["prediction_masks"])
        .files[1]
        .endswith("found/small_bowel/case3/case3_day0_slice_0001.png")
    )
    path.unlink()
    with pytest.raises(ValueError, match=r"has 0 files stomach/case3/case3_day0_slice_0002 with an image's suffix"):
        with_predictions(parts, "test", tmp_path / "found", names)


def test_predictions_are_read_from_a_submission(tmp_path):
    folder = write_gi(tmp_path / "data")
    parts = split(folder)
    names = class_names(parts["test"])
    table = tmp_path / "submission.csv"
    table.write_text(
        (folder / "train.csv").read_text(encoding="utf-8").replace("segmentation", "predicted"), encoding="utf-8"
    )
    found = with_predictions(parts, "test", table, names)
    assert ClassMasks.of_text(found[0]["prediction_masks"]).codes == ["2 3", "3 3", ""]
    table.write_text("\n".join(table.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"submission\.csv: has no line of stomach of case3_day0_slice_0002"):
        with_predictions(parts, "test", table, names)


def test_inference_takes_images_alone(tmp_path):
    folder = write_class_masks(tmp_path)
    cases = inference_list(folder / "images", "segmentation", 2, 1, 2, 4, multi_label=True)
    assert [case["case"] for case in cases] == ["a0", "a1", "a2"]
