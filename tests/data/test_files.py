"""Which files count as images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_slice, write_slices
from image_files import random_picture, write_picture, write_series

from flemme_monai.data.files import image_kind, image_stem, list_images


@pytest.mark.parametrize(
    ("name", "stem", "kind"),
    [
        ("a.png", "a", "picture"),
        ("b.TIFF", "b", "picture"),
        ("c.d.nii.gz", "c.d", "nifti"),
        ("e.nii", "e", "nifti"),
        ("f.nrrd", "f", "itk"),
        ("g.HDR", "g", "nifti"),
        ("h.img", "h", "nifti"),
        ("i.mhd", "i", "itk"),
    ],
)
def test_a_file_has_a_stem_and_a_kind(name: str, stem: str, kind: str) -> None:
    assert image_stem(f"folder/{name}") == stem
    assert image_kind(f"folder/{name}") == kind


def test_another_suffix_is_named() -> None:
    with pytest.raises(ValueError, match=r"x\.gif.*\.png"):
        image_kind("x.gif")


def test_junk_of_the_operating_system_is_no_image(tmp_path) -> None:
    for name in ("a.png", "._a.png", "Thumbs.db", ".DS_Store", "notes.txt", "__MACOSX/a.png", "sub/b.png"):
        write_picture(tmp_path / name, random_picture(), format="PNG")
    assert list_images(tmp_path) == [tmp_path / "a.png", tmp_path / "sub" / "b.png"]


def test_a_dicom_series_is_its_folder(tmp_path) -> None:
    write_series(tmp_path / "patient" / "1.2", np.zeros((3, 4, 2)))
    assert list_images(tmp_path) == [tmp_path / "patient" / "1.2"]
    assert image_stem(tmp_path / "patient" / "1.2") == "1.2"


def test_dicom_beside_other_images_is_refused(tmp_path) -> None:
    write_series(tmp_path, np.zeros((3, 4, 2)))
    write_picture(tmp_path / "a.png", random_picture())
    with pytest.raises(ValueError, match=r"DICOM files and a\.png"):
        list_images(tmp_path)


def test_a_linked_folder_that_contains_itself_ends(tmp_path) -> None:
    write_picture(tmp_path / "a.png", random_picture())
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_a_dicomdir_does_not_make_its_folder_a_series(tmp_path) -> None:
    write_slice(tmp_path / "DICOM" / "SE1" / "IM0", np.zeros((3, 4), np.int16))
    write_slice(tmp_path / "DICOMDIR", np.zeros((3, 4), np.int16), data=b"", SOPClassUID="1.2.840.10008.1.3.10")
    assert list_images(tmp_path) == [tmp_path / "DICOM" / "SE1"]


def test_text_files_that_sort_first_do_not_hide_a_series(tmp_path) -> None:
    write_slice(tmp_path / "series" / "IM0", np.zeros((3, 4), np.int16))
    for name in ("AUTORUN.INF", "A.xml", "B.txt", "CHANGES", "DICOM_READ_ME", "E"):
        (tmp_path / "series" / name).write_text("text " * 100, encoding="utf-8")
    assert list_images(tmp_path) == [tmp_path / "series"]


def test_text_alone_is_no_series(tmp_path) -> None:
    (tmp_path / "README").write_text("text " * 100, encoding="utf-8")
    (tmp_path / "DICM").write_bytes(b"\0" * 128)
    assert list_images(tmp_path) == []


def test_a_broken_link_and_a_pipe_are_no_series(tmp_path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "b")
    assert list_images(tmp_path) == []


def test_a_pair_of_header_and_voxels_is_one_image(tmp_path) -> None:
    for name in ("a.hdr", "a.img", "B.HDR", "B.IMG", "alone.hdr", "disk.img", "c.mhd", "c.raw"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["B.HDR", "a.hdr", "c.mhd"]


@pytest.mark.parametrize("kind", ["481.3", "88.22", "11.1", "104.1"])
def test_a_folder_of_dicom_without_images_is_passed_over(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    volume = np.zeros((4, 5, 3), np.int16)
    write_slices(tmp_path / "ct", volume)
    write_slice(tmp_path / "other" / "a.dcm", volume[..., 0], SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}")
    caplog.set_level("INFO")
    assert list_images(tmp_path) == [tmp_path / "ct"]
    assert f"{tmp_path / 'other'}: passed over 1 files (DICOM without an image)" in caplog.text
