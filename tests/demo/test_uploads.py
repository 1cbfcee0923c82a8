"""Uploads are bounded by what their headers claim, before anything is decoded."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_files import write_slices
from image_files import random_picture, write_nifti, write_picture

from flemme_monai.data.reading import read_image
from flemme_monai.demo.limits import Deadline, Limits
from flemme_monai.demo.uploads import take_upload


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_is_copied_under_a_safe_name(tmp_path: Path, suffix: str) -> None:
    given = write_picture(tmp_path / f"..a b{suffix}", random_picture())
    taken = take_upload([given], tmp_path / "mine", Limits())
    assert taken.parent == tmp_path / "mine"
    assert not taken.name.startswith(".")
    assert read_image(taken).shape[1:] == (16, 12)


def test_a_series_becomes_a_folder_and_other_files_with_it_are_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path / "ct", np.zeros((4, 5, 3), np.int16))
    taken = take_upload(paths, tmp_path / "mine", Limits())
    assert read_image(taken).shape == (1, 5, 4, 3)
    picture = write_picture(tmp_path / "a.png", random_picture())
    with pytest.raises(ValueError, match=r"a.png: is one of 4 files and no DICOM"):
        take_upload([*paths, picture], tmp_path / "mine", Limits())


def test_an_upload_takes_the_place_of_the_last(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        take_upload([write_picture(tmp_path / name, random_picture())], tmp_path / "mine", Limits())
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["b.png"]


def test_a_volume_is_refused_by_its_header_without_being_read(tmp_path: Path) -> None:
    """4 GB of zeros are 4 MB of gzip: only the header may be looked at."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((1600, 1600, 1600))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4 + b"\0" * 1000))
    with pytest.raises(ValueError, match=r"4096.0 million pixels or voxels; expected at most 64 million"):
        take_upload([path], tmp_path / "mine", Limits())


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", random_picture())
    with pytest.raises(ValueError, match="million pixels"):
        take_upload([path], tmp_path / "mine", Limits(megavoxels=1e-4))


def test_a_series_of_too_many_voxels_is_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path / "ct", np.zeros((10, 10, 3), np.int16))
    take_upload(paths, tmp_path / "mine", Limits(megavoxels=3e-4))
    with pytest.raises(ValueError, match="million pixels"):
        take_upload(paths, tmp_path / "mine", Limits(megavoxels=2.9e-4))


def test_an_upload_of_too_many_bytes_or_files_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((40, 40, 40), np.float32))
    with pytest.raises(ValueError, match=r"0.2 MB; expected at most 0.1 MB"):
        take_upload([path], tmp_path / "mine", Limits(megabytes=0.1))
    with pytest.raises(ValueError, match="2 files; expected at most 1"):
        take_upload([path, path], tmp_path / "mine", Limits(files=1))


@pytest.mark.parametrize("name", ["a.exe", "a.npy", "a.pt", "a.nrrd", "a.html"])
def test_files_of_other_kinds_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 600)
    with pytest.raises(ValueError, match=r"is of another kind; expected a PNG, JPEG, TIFF or NIfTI file"):
        take_upload([tmp_path / name], tmp_path / "mine", Limits())


def test_nothing_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was uploaded"):
        take_upload([], tmp_path, Limits())


def test_a_run_ends_at_its_deadline() -> None:
    Deadline(60).check()
    with pytest.raises(ValueError, match="stopped after 0 s"):
        Deadline(0).check()


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="megabytes is 0; expected more than 0"):
        Limits(megabytes=0)
