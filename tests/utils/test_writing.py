"""Files are written whole or not at all."""

from __future__ import annotations

import pytest

from flemme_monai.utils import replacing, writable_dir


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def die():
        with replacing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_suffix_stays_so_that_writers_know_the_format(tmp_path):
    with replacing(tmp_path / "a.nii.gz") as part:
        assert part.name.endswith(".nii.gz")
        part.touch()


def test_a_folder_is_made(tmp_path):
    assert writable_dir(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/b is not a writable folder"):
        writable_dir(tmp_path / "file" / "b")
