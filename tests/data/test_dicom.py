"""A DICOM series is read right, or refused in one line that names its folder and slices."""

from __future__ import annotations

import io
import logging
import re
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    UNDEFINED,
    element,
    encapsulated,
    numbers,
    write_slice,
    write_slices,
)
from monai.data import ITKReader
from PIL import Image

from flemme_monai.data.reading import read_array, read_image

VOLUME = np.random.default_rng(0).integers(0, 3000, (4, 5, 6), dtype=np.int16)  # rows, columns, slices


def refusal(folder: Path) -> str:
    """The one line in which a folder is refused; it names the folder once."""
    with pytest.raises(ValueError, match=re.escape(f"{folder}: ")) as error:
        read_array(folder)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{folder}: ")
    return line[len(f"{folder}: ") :]


def rotation(seed: int) -> np.ndarray:
    """A rotation matrix."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return turn * np.linalg.det(turn)


def placed(folder: Path, turn: np.ndarray, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Writes VOLUME with 0.5 x 0.75 mm pixels and 2 mm steps, turned and, from slice to slice, shifted in the plane.

    Returns:
        Its affine (4, 4) to RAS mm.
    """
    row, column, normal = turn.T
    step = 2 * normal + shift[0] * row + shift[1] * column
    origin = np.array([10.0, -20.0, 30.0])
    write_slices(
        folder,
        VOLUME,
        [origin + k * step for k in range(6)],
        ImageOrientationPatient=numbers([*row, *column]),
        PixelSpacing=numbers([0.75, 0.5]),  # between rows, between columns
    )
    lps = np.stack([0.5 * row, 0.75 * column, step, origin], axis=1)
    return np.vstack([np.diag([-1, -1, 1]) @ lps, [0, 0, 0, 1]])


def test_the_real_series_reads_as_itk_reads_it(data_dir: Path) -> None:
    folder = data_dir / "ct_dicom" / "series"
    reader = ITKReader()
    expected, meta = reader.get_data(reader.read(str(folder)))
    array, affine = read_array(folder)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array[0], expected)
    np.testing.assert_allclose(affine, meta["affine"], atol=1e-9)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_uncompressed_transfer_syntaxes_read_alike(tmp_path: Path, syntax: str) -> None:
    write_slices(tmp_path, VOLUME, syntax=syntax)
    array, affine = read_array(tmp_path)
    np.testing.assert_array_equal(array[0], VOLUME.swapaxes(0, 1))
    np.testing.assert_allclose(affine, np.diag([-1, -1, 3, 1]))


@pytest.mark.parametrize(
    "turn",
    [
        np.eye(3),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),  # sagittal slices: rows run to posterior, columns to superior
        np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),  # coronal
        rotation(1),
        rotation(2),
    ],
    ids=["axial", "sagittal", "coronal", "oblique", "oblique2"],
)
def test_voxels_lie_where_position_orientation_and_spacing_put_them(tmp_path: Path, turn: np.ndarray) -> None:
    expected = placed(tmp_path, turn)
    array, affine = read_array(tmp_path)
    np.testing.assert_array_equal(array[0], VOLUME.swapaxes(0, 1))
    np.testing.assert_allclose(affine, expected, atol=1e-5)


def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = placed(tmp_path, rotation(3), shift=(0.0, 2 * np.tan(np.radians(15))))
    with caplog.at_level(logging.INFO):
        _, affine = read_array(tmp_path)
    np.testing.assert_allclose(affine, expected, atol=1e-5)
    image = read_image(tmp_path)  # in RAS order
    at = tuple(int(index[0]) for index in np.nonzero(image[0].numpy() == VOLUME[1, 2, 3]))
    np.testing.assert_allclose(image.affine.numpy() @ [*at, 1], expected @ [2, 1, 3, 1], atol=1e-4)
    assert f"{tmp_path}: the gantry was tilted by 15.0 degrees" in caplog.text


def test_two_slices_side_by_side_are_no_tilt(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME[..., :2], [(0, 0, 0), (100, 0, 3)])
    assert "from 0.dcm to 1.dcm the slices move aside by 88 degrees" in refusal(tmp_path)


def test_rounded_positions_are_no_tilt(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME, [(0.01 * (k % 2), -0.01 * (k == 5), 3 * k + 0.02 * (k % 2)) for k in range(6)])
    np.testing.assert_allclose(read_array(tmp_path)[1], np.diag([-1, -1, 3, 1]), atol=0.005)
    assert read_array(tmp_path)[1][:2, 2].tolist() == [0, 0]


def test_slices_are_sorted_by_place_not_by_name_or_number(tmp_path: Path) -> None:
    order = [3, 0, 5, 1, 4, 2]
    write_slices(tmp_path, VOLUME[..., order], [(0, 0, 3 * k) for k in order])
    np.testing.assert_array_equal(read_array(tmp_path)[0][0], VOLUME.swapaxes(0, 1))


def test_descending_positions_give_the_same_volume(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME[..., ::-1], [(0, 0, -3 * k) for k in range(6)])
    array, affine = read_array(tmp_path)
    np.testing.assert_array_equal(array[0], VOLUME.swapaxes(0, 1))
    np.testing.assert_allclose(affine[:3, 3], [0, 0, -15])


@pytest.mark.parametrize(
    ("slopes", "intercepts"),
    [
        ([1, 2, 3, 4, 5, 6], [0, -5, 7, -9, 11, -13]),
        ([0.1, 0.25, 1, 2.5, 3, 0.3], [0, 0.5, -1000, 3, 4, 5]),
        ([1, 1, 0.5, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
        ([1, 1, 1, 40, 1, 1], [0, 0, 0, 0, 0, 0]),  # 3000 * 40 does not fit into 16 bits
        ([1, 1, 1, 100000, 1, 1], [0, 0, 0, -7, 0, 0]),
        ([1, 1, 1, 1, 1, 1], [0, 0, 0, -40000, 0, 0]),
    ],
    ids=["integers", "decimals", "half", "wide", "wider", "far"],
)
@pytest.mark.parametrize("kind", ["CT", "MR"])
def test_each_slice_has_its_own_slope_and_intercept(
    tmp_path: Path, slopes: list[float], intercepts: list[float], kind: str
) -> None:
    each = [{"RescaleSlope": f"{a:g}", "RescaleIntercept": f"{b:g}"} for a, b in zip(slopes, intercepts)]
    storage = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}[kind]
    write_slices(tmp_path, VOLUME, each=each, SOPClassUID=storage, Modality=kind)
    expected = VOLUME * np.array(slopes, dtype=np.float64) + np.array(intercepts)
    np.testing.assert_allclose(read_array(tmp_path)[0][0], expected.swapaxes(0, 1), rtol=1e-12, atol=1e-9)


def test_a_date_that_changes_at_midnight_loses_no_slice(tmp_path: Path) -> None:
    each = [{"SeriesDate": "20240101" if k < 4 else "20240102", "SeriesTime": str(k)} for k in range(6)]
    write_slices(tmp_path / "20240102", VOLUME, each=each)
    np.testing.assert_array_equal(read_array(tmp_path / "20240102")[0][0], VOLUME.swapaxes(0, 1))


@pytest.mark.parametrize("copied", [["3.dcm"], [f"{k}.dcm" for k in range(6)]], ids=["one", "all"])
def test_files_copied_byte_by_byte_count_once_and_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, copied: list[str]
) -> None:
    for path in write_slices(tmp_path, VOLUME):
        if path.name in copied:
            shutil.copy(path, path.with_name(f"{path.stem} (1).dcm"))
    array, affine = read_array(tmp_path)
    np.testing.assert_array_equal(array[0], VOLUME.swapaxes(0, 1))
    assert affine[2, 2] == 3
    assert f"{tmp_path}: passed over {copied[0]}" in caplog.text


def test_copies_without_uids_count_once_too(tmp_path: Path) -> None:
    for path in write_slices(tmp_path, VOLUME, SOPInstanceUID="", SeriesInstanceUID=""):
        shutil.copy(path, path.with_name(f"{path.stem} (1).dcm"))
    assert read_array(tmp_path)[0].shape == (1, 5, 4, 6)


def test_different_files_of_one_instance_uid_are_refused(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME, each=[{"SOPInstanceUID": f"1.2.{max(k, 1)}"} for k in range(6)])
    assert refusal(tmp_path).startswith("0.dcm and 1.dcm have the same SOPInstanceUID and different contents")


@pytest.mark.parametrize("shift", [0, 0.001])
def test_two_phases_are_refused_with_what_tells_them_apart(tmp_path: Path, shift: float) -> None:
    write_slices(
        tmp_path,
        np.concatenate([VOLUME, VOLUME + 1], axis=2),
        [(0, 0, 3 * (k % 6) + shift * (k // 6)) for k in range(12)],
        [{"AcquisitionNumber": 1 + k // 6} for k in range(12)],
    )
    line = refusal(tmp_path)
    assert (
        "6 of 12 slices are at the position of another, as 0.dcm and 6.dcm, which differ in AcquisitionNumber 1 and 2"
        in line
    )


def test_a_missing_slice_is_refused_between_its_neighbours(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME)[3].unlink()
    line = refusal(tmp_path)
    assert "slices are missing between 2.dcm and 4.dcm (6 mm), where others are 3 mm apart" in line


def test_one_of_four_slices_missing_is_seen(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME[..., :4])[2].unlink()
    assert "missing between 1.dcm and 3.dcm (6 mm)" in refusal(tmp_path)


@pytest.mark.parametrize("moved", [(0, 0, 0.5), (2.0, 0, 0)], ids=["along", "aside"])
def test_a_slice_off_the_grid_is_named(tmp_path: Path, moved: tuple[float, float, float]) -> None:
    write_slices(tmp_path, VOLUME, [np.array([0, 0, 3 * k]) + (k == 2) * np.array(moved) for k in range(6)])
    assert "2.dcm lies" in refusal(tmp_path)


def test_mixed_orientations_name_the_slices(tmp_path: Path) -> None:
    sagittal = {"ImageOrientationPatient": numbers([0, 1, 0, 0, 0, 1])}
    write_slices(tmp_path, VOLUME, each=[{}] * 5 + [sagittal])
    line = refusal(tmp_path)
    assert "several orientations" in line
    assert "5.dcm" in line


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": numbers([1, 1.01])}, "several spacings: 1\\1 in 0.dcm, 1.01\\1 in 4.dcm"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "several photometric interpretations: MONOCHROME1 in 4.dcm"),
        ({"ImagePositionPatient": ""}, "4.dcm tell no position"),
        ({"ImageOrientationPatient": ""}, "4.dcm tell no orientation"),
        ({"PixelSpacing": ""}, "4.dcm tell no spacing"),
        ({"PixelSpacing": "0,5\\0,5"}, "4.dcm has the PixelSpacing '0,5\\\\0,5'"),
        ({"ImagePositionPatient": "0\\0\\nan"}, "4.dcm has the ImagePositionPatient"),
        ({"ImagePositionPatient": "0\\0\\1e300"}, "4.dcm has the ImagePositionPatient"),
        ({"RescaleSlope": "two"}, "4.dcm has the RescaleSlope 'two'"),
        ({"RescaleSlope": "0"}, "4.dcm has the RescaleSlope 0"),
        ({"NumberOfFrames": "1x"}, "4.dcm has the NumberOfFrames"),
        ({"SeriesInstanceUID": "1.2.4"}, "holds 2 DICOM series"),
        ({"Rows": 0}, "4.dcm claims 5 columns, 0 rows"),
    ],
)
def test_a_slice_unlike_the_others_is_named(tmp_path: Path, tags: dict[str, str | int], message: str) -> None:
    write_slices(tmp_path, VOLUME, each=[{}] * 4 + [tags, {}])
    assert message in refusal(tmp_path)


def test_mixed_sizes_name_the_slices(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME)
    write_slice(tmp_path / "6.dcm", VOLUME[:3, :, 0], ImagePositionPatient=numbers([0, 0, 18]))
    assert "several sizes: 5x3 in 6.dcm, 5x4 in 0.dcm, 1.dcm, 2.dcm and 3 more" in refusal(tmp_path)


@pytest.mark.parametrize("bad", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
@pytest.mark.parametrize("count", [1, 6])
def test_directions_that_span_no_plane_are_refused(tmp_path: Path, bad: list[int], count: int) -> None:
    write_slices(tmp_path, VOLUME[..., :count], ImageOrientationPatient=numbers(bad))
    assert "expected two unit vectors" in refusal(tmp_path)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("bad", [[0, 1], [-1, 1]])
def test_pixels_without_a_size_are_refused(tmp_path: Path, bad: list[int], count: int) -> None:
    write_slices(tmp_path, VOLUME[..., :count], PixelSpacing=numbers(bad))
    assert "expected mm above 0" in refusal(tmp_path)


def test_several_series_are_named_with_their_files(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME, SeriesDescription="Thorax")
    write_slice(tmp_path / "scout", VOLUME[..., 0], SeriesInstanceUID="1.2.4", SeriesDescription="Localizer")
    line = refusal(tmp_path)
    assert line.startswith("holds 2 DICOM series; put each in a folder of its own")
    assert "Localizer: scout" in line
    assert "Thorax: 0.dcm, 1.dcm, 2.dcm and 3 more" in line


@pytest.mark.parametrize(
    ("tags", "message"),
    [({"NumberOfFrames": "2"}, "0.dcm holds 2 frames"), ({"ImageType": "ORIGINAL\\MOSAIC"}, "0.dcm holds a mosaic")],
)
def test_several_slices_in_one_file_are_refused(tmp_path: Path, tags: dict[str, str], message: str) -> None:
    data = element(0x7FE00010, "OW", VOLUME[..., :2].tobytes())
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], data=data, **tags)
    assert message in refusal(tmp_path)


def test_bright_is_high_in_monochrome1(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME.astype(np.uint16), PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_array(tmp_path)[0][0], 4095 - VOLUME.swapaxes(0, 1))


def test_colour_is_three_channels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    for k in range(2):
        write_slice(tmp_path / f"{k}.dcm", picture + k, ImagePositionPatient=numbers([0, 0, k]))
    array, _ = read_array(tmp_path)
    np.testing.assert_array_equal(array[..., 0], picture.transpose(2, 1, 0))
    np.testing.assert_array_equal(array[..., 1], (picture + np.uint8(1)).transpose(2, 1, 0))


def test_one_slice_alone_is_a_volume_of_one(tmp_path: Path) -> None:
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], ImagePositionPatient=numbers([1, 2, 7]))
    array, affine = read_array(tmp_path)
    np.testing.assert_array_equal(array[0, ..., 0], VOLUME[..., 0].T)
    np.testing.assert_allclose(affine, [[-1, 0, 0, -1], [0, -1, 0, -2], [0, 0, 1, 7], [0, 0, 0, 1]])


def test_what_is_no_slice_is_passed_over_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in write_slices(tmp_path, VOLUME):
        path.rename(tmp_path / f"IM{path.stem}")
    (tmp_path / "A-README.txt").write_text("text", encoding="utf-8")
    (tmp_path / "LICENSE").write_text("text" * 100, encoding="utf-8")
    write_slice(tmp_path / "structures.dcm", VOLUME[..., 0], data=b"", SOPClassUID="1.2.3.4", Rows="", Columns="")
    with caplog.at_level(logging.INFO):
        assert read_array(tmp_path)[0].shape == (1, 5, 4, 6)
    assert "passed over A-README.txt, LICENSE (no DICOM)" in caplog.text
    assert "passed over structures.dcm (DICOM without an image)" in caplog.text


@pytest.mark.parametrize("end", [0, 100, 200, 400, -1, -40])
def test_a_slice_that_is_cut_short_is_named(tmp_path: Path, end: int) -> None:
    paths = write_slices(tmp_path, VOLUME)
    paths[5].write_bytes(paths[5].read_bytes()[:end])
    assert "5.dcm" in refusal(tmp_path)


def test_a_slice_cut_before_its_pixels_is_not_taken_for_a_report(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME)
    write_slice(tmp_path / "5.dcm", VOLUME[..., 5], data=b"")
    assert "5.dcm has no pixel data" in refusal(tmp_path)
    write_slice(tmp_path / "5.dcm", VOLUME[..., 5], data=b"", Rows="", Columns="")
    assert "no image in 5.dcm" in refusal(tmp_path)


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    write_slices(tmp_path, VOLUME)
    (tmp_path / "6").symlink_to(tmp_path / "nowhere")
    assert "6 is a link to a file that does not exist" in refusal(tmp_path)


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    assert "no DICOM file" in refusal(tmp_path)


def test_a_large_claim_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], Rows=60000, Columns=20000)
    started = time.perf_counter()
    assert "0.dcm claims 20000 x 60000 pixels in 2400000000 bytes and holds 40" in refusal(tmp_path)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("place", ["header", "stream", "both"])
def test_a_large_claim_of_a_compressed_image_is_refused(tmp_path: Path, place: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(stream, "JPEG")
    coded = stream.getvalue()
    if place != "header":
        at = coded.index(b"\xff\xc0") + 5
        coded = coded[:at] + struct.pack(">HH", 60000, 60000) + coded[at + 4 :]
    size = 16 if place == "stream" else 60000
    write_slice(tmp_path / "0.dcm", np.zeros((16, 16), np.uint8), JPEG, encapsulated(coded), Rows=size, Columns=size)
    line = refusal(tmp_path)
    assert "0.dcm" in line
    assert "60000 x 60000" in line or "claim images of 3600000000 bytes" in line


def test_more_samples_in_a_compressed_image_than_claimed_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(stream, "JPEG")
    write_slice(tmp_path / "0.dcm", np.zeros((16, 16), np.uint8), JPEG, encapsulated(stream.getvalue()))
    assert "of 1 samples where its compressed image has 16 x 16 of 3" in refusal(tmp_path)


def test_jpeg_slices_are_read(tmp_path: Path) -> None:
    picture = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=100)
    write_slice(tmp_path / "0.dcm", picture, JPEG, encapsulated(stream.getvalue()))
    assert np.abs(read_array(tmp_path)[0][0, ..., 0].T - picture.astype(int)).max() <= 2


def test_what_decompressors_print_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG2000", no_jp2=True)
    write_slice(tmp_path / "0.dcm", picture, JPEG_2000, encapsulated(stream.getvalue()))
    np.testing.assert_array_equal(read_array(tmp_path)[0][0, ..., 0].T, picture)
    assert not caplog.records
    write_slice(tmp_path / "0.dcm", picture, JPEG_2000, encapsulated(stream.getvalue()[:60]))
    assert "ITK cannot decode 0.dcm" in refusal(tmp_path)
    assert f"{tmp_path / '0.dcm'}: " in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [UNDEFINED, None], ids=["undefined", "defined"])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_sequences_nested_without_end_are_refused(tmp_path: Path, syntax: str, length: int | None) -> None:
    deep = b""
    for _ in range(3000):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED if length else len(deep)) + deep
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0) * bool(length)
        deep = element(0x00081140, "SQ", item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) * bool(length), syntax, length)
    pixels = element(0x7FE00010, "OW", VOLUME[..., 0].tobytes(), syntax)
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], syntax, deep + pixels)
    assert "0.dcm nests sequences more than" in refusal(tmp_path)


def test_a_sequence_before_the_image_is_passed(tmp_path: Path) -> None:
    inner = element(0x7FE00010, "OW", b"1234") + element(0x00280010, "US", b"\x01\0")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + inner + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    icon = element(0x00880200, "SQ", item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), length=UNDEFINED)
    pixels = element(0x7FE00010, "OW", VOLUME[..., 0].tobytes())
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], data=icon + pixels)
    np.testing.assert_array_equal(read_array(tmp_path)[0][0, ..., 0], VOLUME[..., 0].T)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 512, element(0xFFFCFFFC, "OB", b"\0" * 10)])
def test_padding_after_the_image_is_passed(tmp_path: Path, tail: bytes) -> None:
    path = write_slice(tmp_path / "0.dcm", VOLUME[..., 0])
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(read_array(tmp_path)[0][0, ..., 0], VOLUME[..., 0].T)


def test_the_first_of_two_sizes_counts(tmp_path: Path) -> None:
    large = element(0x00280010, "US", struct.pack("<H", 60000))
    path = write_slice(tmp_path / "0.dcm", VOLUME[..., 0])
    content = path.read_bytes()
    at = content.index(element(0x00280010, "US", b"\x04\0"))
    path.write_bytes(content[:at] + large + content[at:])
    assert "0.dcm claims 5 x 60000 pixels" in refusal(tmp_path)


@pytest.mark.parametrize("tail", [b"\0\0\0\0text", struct.pack("<HHI", 0xFFFE, 0xE00D, 0)])
def test_foreign_bytes_after_the_image_are_refused(tmp_path: Path, tail: bytes) -> None:
    path = write_slice(tmp_path / "0.dcm", VOLUME[..., 0])
    path.write_bytes(path.read_bytes() + tail + element(0x7FE10010, "OB", b"1234", length=2**30))
    assert "0.dcm is damaged" in refusal(tmp_path)


def test_a_large_element_after_the_image_is_refused(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "0.dcm", VOLUME[..., 0])
    path.write_bytes(path.read_bytes() + element(0x7FE10010, "OB", b"1234", length=2**30))
    assert "its element (7fe1,0010) claims 1073741824 bytes where 4 follow" in refusal(tmp_path)


def test_itk_writes_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    write_slices(tmp_path, VOLUME, [(0, 0, 3 * k + 0.05 * (k % 2)) for k in range(6)])
    read_image(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_file_is_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    path = write_slice(tmp_path / "0.dcm", VOLUME[..., 0], (EXPLICIT, IMPLICIT, BIG_ENDIAN)[seed % 3])
    content = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 6)):
        content[random.integers(132, len(content))] = random.integers(256)
    path.write_bytes(content[: random.integers(132, len(content) + 1)] if seed % 4 == 0 else content)
    try:
        read_array(tmp_path)
    except ValueError:
        refusal(tmp_path)


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
def test_an_empty_factor_is_refused(tmp_path: Path, name: str) -> None:
    write_slices(tmp_path, VOLUME, **{name: " "})
    assert f"0.dcm has an empty {name}; expected a number" in refusal(tmp_path)


@pytest.mark.parametrize("length", [None, UNDEFINED])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_a_table_of_values_is_refused(tmp_path: Path, syntax: str, length: int | None) -> None:
    order = ">" if syntax == BIG_ENDIAN else "<"
    item = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 10) + element(0x00283003, "LO", b"HU", syntax)
    table = item + (struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0) if length else b"")
    pixels = VOLUME[..., 0].astype(VOLUME.dtype.newbyteorder(order)).tobytes()
    data = element(0x00283000, "SQ", table, syntax, length) + element(0x7FE00010, "OW", pixels, syntax)
    write_slice(tmp_path / "0.dcm", VOLUME[..., 0], syntax, data)
    assert "0.dcm has a Modality LUT, which is not applied" in refusal(tmp_path)
