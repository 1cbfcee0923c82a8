"""Reading one image of each kind."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_files import random_picture, write_nifti, write_nrrd, write_picture, write_series
from monai.data import DataLoader, Dataset, decollate_batch
from permissions import permissions_bind
from PIL import Image

from flemme_monai.data.reading import read_array, read_image, read_masks

VOLUME = np.arange(60).reshape(4, 5, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_picture_is_width_by_height(tmp_path: Path, suffix: str) -> None:
    picture = random_picture()
    image = read_image(write_picture(tmp_path / f"a{suffix}", picture))
    assert image.shape == (1, 16, 12)
    np.testing.assert_array_equal(image[0].numpy(), picture.T)
    assert image.meta["original_dtype"] == "uint8"


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    picture = random_picture().astype(np.uint16) * 200
    image = read_image(write_picture(tmp_path / "a.png", picture))
    assert image.meta["original_dtype"] == "uint16"
    assert image.max() == picture.max()


def test_a_palette_is_indices_in_a_mask_and_colours_in_an_image(tmp_path: Path) -> None:
    picture = Image.fromarray((random_picture() % 3).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert read_array(tmp_path / "a.png", indexed=True)[0].shape == (1, 16, 12)
    assert read_array(tmp_path / "a.png")[0].shape == (3, 16, 12)


def test_a_volume_is_turned_to_ras(tmp_path: Path) -> None:
    affine = np.diag([-2.0, 3.0, 1.0, 1.0])
    image = read_image(write_nifti(tmp_path / "a.nii.gz", VOLUME.astype(np.int16), affine))
    np.testing.assert_array_equal(image[0].numpy(), VOLUME[::-1])
    assert image.affine.diagonal().tolist() == [2, 3, 1, 1]
    np.testing.assert_array_equal(image.meta["original_affine"], affine)
    assert image.meta["original_dtype"] == "int16"
    assert image.meta["filename_or_obj"] == str(tmp_path / "a.nii.gz")
    assert image.applied_operations == []


def test_the_original_shape_is_kept_where_axes_are_swapped(tmp_path: Path) -> None:
    affine = np.eye(4)[[2, 0, 1, 3]]
    image = read_image(write_nifti(tmp_path / "a.nii", VOLUME.astype(np.int16), affine))
    assert image.meta["spatial_shape"].tolist() == [4, 5, 3]
    assert image.shape == (1, 3, 4, 5)


def test_the_fourth_axis_of_a_nifti_is_its_channels(tmp_path: Path) -> None:
    modalities = np.stack([VOLUME, -VOLUME], axis=-1).astype(np.float32)
    image = read_image(write_nifti(tmp_path / "a.nii.gz", modalities))
    np.testing.assert_array_equal(image.numpy(), np.stack([VOLUME, -VOLUME]))


def test_a_trailing_axis_of_one_is_no_channel_axis(tmp_path: Path) -> None:
    image = read_image(write_nifti(tmp_path / "a.nii.gz", VOLUME[..., None].astype(np.int16)))
    assert image.shape == (1, 4, 5, 3)


def test_a_two_dimensional_nifti_is_an_image(tmp_path: Path) -> None:
    assert read_image(write_nifti(tmp_path / "a.nii.gz", VOLUME[..., 0].astype(np.int16))).shape == (1, 4, 5)


def test_nrrd_and_dicom_lie_where_the_same_nifti_lies(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    nifti = read_image(write_nifti(tmp_path / "a.nii.gz", VOLUME.astype(np.int16), affine))
    nrrd = read_image(write_nrrd(tmp_path / "a.nrrd", VOLUME.astype(np.int16), (1, 1, 2)))
    dicom = read_image(write_series(tmp_path / "a", VOLUME))
    for image in (nrrd, dicom):
        np.testing.assert_array_equal(image.numpy(), nifti.numpy())
        np.testing.assert_allclose(image.affine, nifti.affine)
        np.testing.assert_allclose(image.meta["original_affine"], affine)
        assert image.meta["original_dtype"] == "int16"


def test_one_file_a_channel_is_one_image(tmp_path: Path) -> None:
    paths = [write_nifti(tmp_path / f"a{k}.nii.gz", (VOLUME + k).astype(np.int16)) for k in range(3)]
    image = read_image(paths)
    assert image.shape == (3, 4, 5, 3)
    assert image[2, 0, 0, 0] == 2


def test_channels_of_different_shape_are_named(tmp_path: Path) -> None:
    first = write_nifti(tmp_path / "a.nii.gz", VOLUME.astype(np.int16))
    second = write_nifti(tmp_path / "b.nii.gz", VOLUME[:3].astype(np.int16))
    with pytest.raises(ValueError, match=r"b\.nii\.gz: has the shape 3x5x3; expected 4x5x3, that of .*a\.nii\.gz"):
        read_image([first, second])


def test_channels_that_lie_apart_are_named(tmp_path: Path) -> None:
    first = write_nifti(tmp_path / "a.nii.gz", VOLUME.astype(np.int16))
    second = write_nifti(tmp_path / "b.nii.gz", VOLUME.astype(np.int16), np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(ValueError, match=r"b\.nii\.gz: lies .* voxels off"):
        read_image([first, second])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a.nrrd", "series"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    volume = VOLUME.astype(np.int16)
    if path.suffix == ".png":
        write_picture(path, random_picture())
    else:
        {".nrrd": write_nrrd, ".gz": write_nifti, "": write_series}[path.suffix](path, volume)
    file = sorted(path.iterdir())[1] if path.is_dir() else path
    file.chmod(0)
    words = rf"^{file}: cannot be read \(Permission denied\): make it readable, or replace it$"
    with permissions_bind(), pytest.raises(OSError, match=words):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nii", "a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_a_truncated_file_is_named_in_one_line(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    noise = random_picture(size=(40, 40, 40))
    if name.endswith(("png", "tif")):
        write_picture(path, noise[0])
    elif name.endswith("nrrd"):
        write_nrrd(path, noise)
    else:
        write_nifti(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"{name}: cannot be read") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_a_folder_of_broken_dicom_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot be read as a DICOM series"):
        read_image(tmp_path)


def test_a_folder_of_several_series_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME, "1.2.3")
    write_series(tmp_path, VOLUME, "1.2.4")
    with pytest.raises(ValueError, match="holds 2 DICOM series"):
        read_image(tmp_path)


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(random_picture(k)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"a\.tif: holds 3 pages"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_voxels_are_counted(tmp_path: Path, bad: float) -> None:
    volume = VOLUME.astype(np.float32)
    volume[1, 2, 0] = bad
    with pytest.raises(ValueError, match=r"a\.nii\.gz: 1 of 60 voxels are NaN or Inf"):
        read_image(write_nifti(tmp_path / "a.nii.gz", volume))


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected real numbers"):
        read_image(write_nifti(tmp_path / "a.nii.gz", VOLUME.astype(np.complex64)))


def test_the_header_of_a_nifti_travels_with_its_image(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(VOLUME.astype(">i2"), None, nibabel.Nifti1Header(endianness=">"))
    volume.header["descrip"] = b"by hand"
    volume.set_qform(np.diag([-2.0, 3, 1, 1]), 2)
    nibabel.save(volume, tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti2Image(VOLUME.astype(np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    loader = DataLoader(Dataset([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], read_image), batch_size=2)
    one, two = decollate_batch(next(iter(loader)))
    header = nibabel.Nifti1Header(np.asarray(one.meta["nifti_header"]).tobytes()[:348])
    assert (header["descrip"], header["qform_code"], header.endianness) == (b"by hand", 2, "<")
    assert nibabel.Nifti2Header(np.asarray(two.meta["nifti_header"]).tobytes()).get_data_shape() == VOLUME.shape


def test_the_masks_of_one_picture_are_merged(tmp_path) -> None:
    masks = np.zeros((3, 4, 6), np.uint8)
    masks[0, :2], masks[1, 1:3, :3], masks[2, 3, 5] = 255, 255, 255
    paths = [write_picture(tmp_path / f"{k}.png", mask) for k, mask in enumerate(masks)]
    assert np.array_equal(read_masks(paths).array[0].T, masks.max(0))
    write_picture(paths[2], masks[0, :, :3])
    with pytest.raises(
        ValueError, match=r"2\.png: has the shape 3x4; expected 6x4, that of .*0\.png; the masks of one image"
    ):
        read_masks(paths)
    write_picture(paths[2], np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"2\.png: has several channels"):
        read_masks(paths)
