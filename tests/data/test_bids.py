"""BIDS data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import write_json, write_nifti

from flemme_monai.data import inference_list, split_datalist
from flemme_monai.data.bids import bids_cases, is_bids

VOLUME = np.zeros((4, 5, 3), np.uint8)
SEGMENTATION = {"task": "segmentation", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "image_size": 4}


def bids(
    folder: Path, subjects: int = 5, modalities: tuple[str, ...] = ("T1w",), sessions: tuple[str, ...] = ("",)
) -> Path:
    write_json(folder / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.9.0"})
    for k in range(1, subjects + 1):
        for session in sessions:
            place = Path(f"sub-{k:02d}") / session / "anat" if session else Path(f"sub-{k:02d}") / "anat"
            name = f"sub-{k:02d}" + (f"_{session}" if session else "")
            for modality in modalities:
                write_nifti(folder / place / f"{name}_{modality}.nii.gz", VOLUME)
            write_nifti(
                folder / "derivatives" / "manual" / place / f"{name}_space-orig_desc-tumour_dseg.nii.gz", VOLUME
            )
    return folder


def test_images_of_subjects_have_the_labels_of_derivatives(tmp_path: Path) -> None:
    assert is_bids(bids(tmp_path))
    split = split_datalist(str(tmp_path), **SEGMENTATION)
    assert [case["case"] for case in split["train"]] == ["sub-01/sub-01", "sub-02/sub-02", "sub-03/sub-03"]
    first = split["train"][0]
    assert first["image"] == str(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    assert first["label"].endswith("derivatives/manual/sub-01/anat/sub-01_space-orig_desc-tumour_dseg.nii.gz")
    assert len(inference_list(str(tmp_path), **SEGMENTATION)) == 5


def test_sessions_of_a_subject_stay_in_one_part(tmp_path: Path) -> None:
    split = split_datalist(str(bids(tmp_path, sessions=("ses-1", "ses-2"))), **SEGMENTATION)
    parts = {part: {case["case"].partition("/")[0] for case in cases} for part, cases in split.items()}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 5
    assert split["test"][0]["case"].endswith("/ses-1/" + split["test"][0]["case"].partition("/")[0] + "_ses-1")


def test_modalities_are_channels_where_they_are_named(tmp_path: Path) -> None:
    bids(tmp_path, modalities=("T1w", "FLAIR"))
    with pytest.raises(ValueError, match="has the modalities FLAIR, T1w; expected one"):
        split_datalist(str(tmp_path), **SEGMENTATION)
    one = split_datalist(str(tmp_path), **SEGMENTATION, image_folders="FLAIR")["val"][0]
    assert one["image"].endswith("sub-04_FLAIR.nii.gz")
    both = split_datalist(str(tmp_path), **{**SEGMENTATION, "in_channels": 2}, image_folders=["T1w", "FLAIR"])["val"][0]
    assert [path.rpartition("_")[2] for path in both["image"]] == ["T1w.nii.gz", "FLAIR.nii.gz"]
    (tmp_path / "sub-02/anat/sub-02_FLAIR.nii.gz").unlink()
    with pytest.raises(ValueError, match="has no FLAIR beside it"):
        bids_cases(tmp_path, 2, True, ["T1w", "FLAIR"])


def test_what_is_missing_or_twice_is_named(tmp_path: Path) -> None:
    bids(tmp_path)
    other = tmp_path / "derivatives" / "auto" / "sub-01" / "anat" / "sub-01_mask.nii.gz"
    write_nifti(other, VOLUME)
    with pytest.raises(ValueError, match="has labels in auto, manual; expected one pipeline"):
        bids_cases(tmp_path, 1, True)
    assert bids_cases(tmp_path, 1, False, pipeline="auto")[0]["label"] == str(other)
    with pytest.raises(ValueError, match="has no label in derivatives/"):
        bids_cases(tmp_path, 1, True, pipeline="auto")
    write_nifti(other.with_name("sub-01_desc-two_mask.nii.gz"), VOLUME)
    with pytest.raises(ValueError, match="are labels of one image"):
        bids_cases(tmp_path, 1, True, pipeline="auto")
