"""Predictions on disk are found by the names of their cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from flemme_monai.data import with_predictions
from flemme_monai.data.predictions import prediction_names


def cases(*images: str) -> dict[str, list[dict]]:
    return {"train": [], "test": [{"image": image, "case": image.partition(".")[0]} for image in images]}


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(parts: dict[str, list[dict]], folder: Path) -> list[str]:
    return [Path(case["prediction"]).relative_to(folder).as_posix() for case in with_predictions(parts, "test", folder)]


@pytest.mark.parametrize("name", ["a_seg.nii.gz", "a.nii.gz", "set_a_seg.nii.gz", "set/a.nii", "set/a_seg.mha"])
def test_a_prediction_is_called_as_inference_or_its_case_is(tmp_path, name):
    assert found(cases("set/a.nii.gz", "set/b.nii.gz"), files(tmp_path, name, "b_seg.nii.gz"))[0] == name


def test_what_inference_wrote_comes_first_and_pictures_beside_it_do_not_count(tmp_path):
    files(tmp_path, "a_seg.png", "a_seg_overlay.png", "a.png", "a_probabilities.nii.gz")
    assert found(cases("a.png"), tmp_path) == ["a_seg.png"]


def test_images_of_one_name_have_predictions_with_their_folders_names(tmp_path):
    files(tmp_path, "image_seg.nii.gz", "y_image_seg.nii.gz", "z_image_seg.nii.gz")
    parts = cases("x/image.nii.gz", "y/image.nii.gz", "z/image.nii.gz")
    assert found(parts, tmp_path) == ["image_seg.nii.gz", "y_image_seg.nii.gz", "z_image_seg.nii.gz"]
    (tmp_path / "y_image_seg.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"has no prediction of 2 of the 3 cases \(x/image, y/image\)"):
        with_predictions(parts, "test", tmp_path)


def test_a_case_of_channel_files_is_found_by_either_name(tmp_path):
    parts = {"test": [{"image": ["d/a_0000.png", "d/a_0001.png"], "case": "a"}]}
    assert found(parts, files(tmp_path / "one", "a_0000_seg.png")) == ["a_0000_seg.png"]
    assert found(parts, files(tmp_path / "two", "a.png")) == ["a.png"]


def test_a_slab_and_no_folder(tmp_path):
    parts = {"test": [{"image": "a.png", "case": "a", "slab": (2, 5)}]}
    (case,) = with_predictions(parts, "test", files(tmp_path, "a.png"))
    assert case["prediction_slab"] == (2, 5)
    assert with_predictions(parts, "test", None) is parts["test"]


def test_missing_and_ambiguous_predictions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere of predictions"):
        with_predictions(cases("a.png"), "test", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no prediction of 1 of the 2 cases \(b\)"):
        with_predictions(cases("a.png", "b.png"), "test", files(tmp_path, "a_seg.png"))
    with pytest.raises(ValueError, match=r"has a_seg.nii and a_seg.png of one case"):
        with_predictions(cases("a.png"), "test", files(tmp_path, "a_seg.nii"))


def test_names_grow_by_the_folders():
    assert prediction_names("/data/x/image.nii.gz", "case") == ["image", "x_image", "data_x_image"]
    assert prediction_names("", "../case") == ["_case"]
