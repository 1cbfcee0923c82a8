"""Files in fastMRI's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_picture

from flemme_monai.data import split_datalist
from flemme_monai.data.fastmri import fastmri_pairs, read_fastmri
from flemme_monai.data.files import image_kind, list_images
from flemme_monai.transforms import CheckCased, EnsureChannelAxisd, JoinTargetd, LoadImageFilesd, SplitTargetd

IMAGES = np.random.default_rng(0).random((3, 16, 12)).astype(np.float32)  # slices of a volume


def write(path: Path, mask: np.ndarray | None = None, reconstruction: bool = True) -> Path:
    """A file of these images, whose k-space is larger by a border of 2."""
    h5py = pytest.importorskip("h5py")
    whole = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2)))
    shifted = np.fft.ifftshift(whole, axes=(-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1)).astype(np.complex64)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        if reconstruction:
            file["reconstruction_esc"] = IMAGES
        if mask is not None:
            file["mask"] = mask
    return path


def test_a_file_is_a_volume_of_its_reconstruction(tmp_path: Path) -> None:
    volume = read_fastmri(write(tmp_path / "a.h5"))
    assert volume.shape == (1, 16, 12, 3)
    np.testing.assert_array_equal(volume[0, ..., 1], IMAGES[1])
    assert image_kind("a.h5") == "fastmri"
    assert list_images(tmp_path) == [tmp_path / "a.h5"]


def test_the_image_of_the_whole_k_space_is_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", mask=np.ones(16, bool))
    np.testing.assert_allclose(read_fastmri(path)[0, ..., 0], IMAGES[0], atol=1e-5)  # cropped to the reconstruction
    alone = read_fastmri(write(tmp_path / "b.h5", reconstruction=False))
    assert alone.shape == (1, 20, 16, 3)  # smaller than fastMRI's crop
    np.testing.assert_allclose(alone[0, 2:-2, 2:-2, 0], IMAGES[0], atol=1e-5)


def test_columns_that_the_mask_drops_are_missing(tmp_path: Path) -> None:
    mask = np.zeros(16, bool)
    mask[8] = True  # the centre column alone: constant along the rows
    image = read_fastmri(write(tmp_path / "a.h5", mask=mask))[0, ..., 0]
    np.testing.assert_allclose(image, image[:, :1].repeat(12, 1), atol=1e-5)
    np.testing.assert_array_equal(read_fastmri(tmp_path / "a.h5", target=True)[0, ..., 0], IMAGES[0])
    with pytest.raises(ValueError, match="expected one number per column"):
        read_fastmri(write(tmp_path / "b.h5", mask=mask[:5]))


def test_files_are_given_pairs_of_their_own(tmp_path: Path) -> None:
    mask = np.arange(16) % 2 == 0
    for name in "abc":
        write(tmp_path / f"{name}.h5", mask)
    split = split_datalist(str(tmp_path), "reconstruction", 2, 1, 1, 8, pairs=True)
    item = split["train"][0]
    assert item["image"] == item["target"] == str(tmp_path / "a.h5")
    for step in (
        LoadImageFilesd(),
        EnsureChannelAxisd("image", 2),
        CheckCased(1),
        JoinTargetd(1, 2, "own"),
        SplitTargetd(1),
    ):
        item = step(item)
    expected = (IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())
    np.testing.assert_allclose(np.moveaxis(item["label"].numpy()[0], -1, 0), expected, atol=1e-5)
    assert abs(item["image"].numpy() - item["label"].numpy()).max() > 0.1


def test_other_folders_are_no_files_of_fastmri(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", random_picture(size=(4, 4)))
    assert fastmri_pairs(tmp_path, 1) is None
    write(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="lies beside fastMRI's files"):
        fastmri_pairs(tmp_path, 1)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        read_fastmri(tmp_path / "a.h5")
