"""NIfTI and Analyze files as people have them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flemme_monai.data.masks import to_label_map
from flemme_monai.data.reading import read_array, read_image, read_stored

VOLUME = np.arange(60).reshape(4, 5, 3).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 7], [0, -3, 0, 8], [0, 0, 4, -9], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = AFFINE, kind: type = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(array, affine), path)
    return path


def with_field(path: Path, **fields: object) -> Path:
    """A NIfTI whose header's fields are set as nibabel would not set them."""
    content = bytearray(save(path, VOLUME).read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("called", ["a.hdr", "a.img"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_a_pair_is_read_by_either_of_its_names(tmp_path: Path, called: str, kind: type) -> None:
    save(tmp_path / "a.hdr", VOLUME, kind=kind)
    array, affine = read_array(tmp_path / called)
    np.testing.assert_array_equal(array[0], VOLUME)
    np.testing.assert_allclose(affine, AFFINE)


def test_an_analyze_file_lies_as_nibabel_says(tmp_path: Path) -> None:
    save(tmp_path / "a.hdr", VOLUME, np.diag([-2.0, 3, 4, 1]), nibabel.AnalyzeImage)
    stored = read_stored(tmp_path / "a.hdr")
    np.testing.assert_array_equal(stored.array[0], VOLUME)
    np.testing.assert_allclose(stored.affine, nibabel.load(tmp_path / "a.hdr").affine)
    assert stored.affine[0, 0] == -2  # right to left
    assert stored.meta == {}


def test_a_pair_without_its_other_half_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.hdr", VOLUME, kind=nibabel.Nifti1Pair)
    (tmp_path / "a.img").unlink()
    with pytest.raises(ValueError, match=r"a\.hdr: lacks its other half a\.img"):
        read_array(tmp_path / "a.hdr")


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_of_a_volume_are_its_channels(tmp_path: Path, names: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (len(names), 4, 5, 3), dtype=np.uint8)
    structured = np.zeros((4, 5, 3), dtype=[(name, "u1") for name in names])
    for name, channel in zip(names, colours):
        structured[name] = channel
    image = read_image(save(tmp_path / "a.nii.gz", structured))
    assert image.meta["original_dtype"] == "uint8"
    np.testing.assert_array_equal(read_array(tmp_path / "a.nii.gz")[0], colours)


@pytest.mark.parametrize("dtype", ["<u8", ">u8", ">i2", ">f4", "<i8"])
def test_every_kind_of_number_is_read(tmp_path: Path, dtype: str) -> None:
    header = nibabel.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(VOLUME.astype(dtype), AFFINE, header), tmp_path / "a.nii")
    array = read_array(tmp_path / "a.nii")[0]
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array[0], VOLUME)


def test_the_fifth_axis_is_channels_where_the_fourth_is_one(tmp_path: Path) -> None:
    vectors = np.stack([VOLUME, VOLUME + 1], axis=-1)[:, :, :, None]
    np.testing.assert_array_equal(read_array(save(tmp_path / "a.nii", vectors))[0], [VOLUME, VOLUME + 1])
    with pytest.raises(ValueError, match=r"b\.nii: has the shape 4x5x3x2x2"):
        read_array(save(tmp_path / "b.nii", np.repeat(vectors, 2, axis=3)))


def test_the_sform_places_a_volume_where_the_voxel_size_is_another(tmp_path: Path) -> None:
    path = with_field(tmp_path / "a.nii", pixdim=[1, 1, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(read_array(path)[1], AFFINE)


@pytest.mark.parametrize(
    "row",
    [[0, 0, 0, 0], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [0, -3, 0, 0]],
    ids=["zero", "nan", "inf", "in one plane"],
)
def test_a_degenerate_sform_names_its_file(tmp_path: Path, row: list[float]) -> None:
    with pytest.raises(ValueError, match=r"a\.nii: its sform \(code 2\) is degenerate \(\[.*has?ve? no place") as error:
        read_array(with_field(tmp_path / "a.nii", srow_x=row))
    assert "\n" not in str(error.value)


def test_a_degenerate_qform_names_its_file(tmp_path: Path) -> None:
    path = with_field(tmp_path / "a.nii", sform_code=0, qform_code=1, quatern_b=np.nan)
    with pytest.raises(ValueError, match=r"a\.nii: .*"):
        read_array(path)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_sheared_affine_of_any_unit_is_not_degenerate(tmp_path: Path, scale: float) -> None:
    affine = AFFINE.copy()
    affine[:3] *= scale
    affine[1, 2] = 0.5 * scale
    np.testing.assert_allclose(read_array(save(tmp_path / "a.nii", VOLUME, affine))[1], affine, rtol=1e-6)


def test_a_two_dimensional_image_needs_no_third_axis_in_space(tmp_path: Path) -> None:
    flat = nibabel.Nifti1Image(VOLUME[..., 0], np.diag([2.0, 3, 1, 1]))
    flat.header["srow_z"] = 0
    nibabel.save(nibabel.Nifti1Image(VOLUME[..., 0], np.diag([2.0, 3, 0, 1]), flat.header), tmp_path / "a.nii")
    np.testing.assert_allclose(read_array(tmp_path / "a.nii")[1], np.diag([2.0, 3, 1, 1]))


def test_a_changed_byte_within_gzip_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = save(tmp_path / "a.nii.gz", rng.integers(0, 999, (20, 20, 20), dtype=np.int16))
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[5000] ^= 1
    damaged = gzip.compress(bytes(plain))
    path.write_bytes(damaged[:-8] + path.read_bytes()[-8:])  # other data with the first's checksum
    with pytest.raises(ValueError, match=r"a\.nii\.gz: cannot be read .*CRC"):
        read_array(path)


def test_a_file_without_voxels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.nii: has no voxels"):
        read_array(with_field(tmp_path / "a.nii", dim=[3, 4, 0, 3, 1, 1, 1, 1]))


@pytest.mark.parametrize("classes", [2, 4, 30])
def test_labels_stored_through_a_slope_are_labels(tmp_path: Path, classes: int) -> None:
    labels = np.arange(60).reshape(4, 5, 3) % classes
    volume = nibabel.Nifti1Image(labels.astype(np.float64), AFFINE)
    volume.set_data_dtype(np.uint8)
    path = tmp_path / "a.nii.gz"
    nibabel.save(volume, path)
    assert read_array(path)[0].dtype == np.float64
    np.testing.assert_array_equal(to_label_map(read_array(path, indexed=True)[0], str(path), classes)[0], labels)


@pytest.mark.parametrize("slope", [0.00392, 1 / 255])
def test_two_grey_levels_with_a_rounded_slope_are_labels(tmp_path: Path, slope: float) -> None:
    content = bytearray(save(tmp_path / "a.nii", (VOLUME % 2 * 255).astype(np.uint8)).read_bytes())
    struct.pack_into("<ff", content, 112, slope, 0)
    (tmp_path / "a.nii").write_bytes(content)
    labels = to_label_map(read_array(tmp_path / "a.nii", indexed=True)[0], "a.nii", 2)
    np.testing.assert_array_equal(labels[0], VOLUME % 2)


def test_interpolated_labels_stored_through_a_slope_are_refused(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.array([0, 0.5, 1]).repeat(20).reshape(3, 4, 5), AFFINE)
    volume.set_data_dtype(np.uint8)
    nibabel.save(volume, tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"the mask holds 0\.498"):
        to_label_map(read_array(tmp_path / "a.nii", indexed=True)[0], "a.nii", 2)


def test_voxels_that_begin_before_the_file_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.hdr", VOLUME, kind=nibabel.AnalyzeImage)
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 108, -1.0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.hdr: says that its voxels begin at byte -1"):
        read_array(path)
