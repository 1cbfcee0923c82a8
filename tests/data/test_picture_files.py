"""Pictures keep all their bits and lie as viewers show them."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture
from PIL import Image, ImageCms, ImageOps

from flemme_monai.data.reading import read_array
from flemme_monai.handlers import SavePredictions
from flemme_monai.transforms import LoadImageAndLabeld

GRAY = random_picture(size=(12, 16))
COLOUR = random_picture(1, (12, 16, 3))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png16(path: Path, array: np.ndarray, orientation: int | None = None) -> Path:
    """A PNG of 16 bits, (H, W, C), C of 2 to 4, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    tags = chunk(b"eXIf", exif(orientation).tobytes()[6:]) if orientation else b""
    content = chunk(b"IHDR", header) + tags + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def tiff(path: Path, array: np.ndarray, order: str = "<", **tags: int) -> Path:
    """An uncompressed TIFF of (H, W) or (H, W, C) in any number format, with the tags given."""
    samples = array.shape[2] if array.ndim == 3 else 1
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    fields = {256: array.shape[1], 257: array.shape[0], 259: 1, 262: 2 if samples > 1 else 1, 273: 8, 277: samples}
    fields |= {278: array.shape[0], 279: len(data), 339: {"u": 1, "i": 2, "f": 3}[array.dtype.kind]}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    entries, tail = b"", b""
    start = 8 + len(data) + 2 + 12 * (len(fields) + 1) + 4
    for tag in sorted([*fields, 258]):
        values = [array.dtype.itemsize * 8] * samples if tag == 258 else [fields[tag]]
        content = struct.pack(f"{order}{len(values)}{'I' if tag in (273, 279) else 'H'}", *values)
        if len(content) > 4:
            content, tail = struct.pack(f"{order}I", start), content
        kind = 4 if tag in (273, 279) else 3
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    count = struct.pack(f"{order}H", len(fields) + 1)
    first = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    path.write_bytes(first + data + count + entries + b"\0" * 4 + tail)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_a_picture_is_turned_as_viewers_turn_it(tmp_path: Path, name: str, orientation: int) -> None:
    Image.fromarray(COLOUR).save(tmp_path / name, exif=exif(orientation))
    with Image.open(tmp_path / name) as picture:
        seen = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_array(tmp_path / name)[0], seen.T)
    np.testing.assert_array_equal(read_array(tmp_path / name, indexed=True)[0], seen.T)


def test_an_orientation_that_is_none_is_passed_over(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png", exif=exif(9))
    np.testing.assert_array_equal(read_array(tmp_path / "a.png")[0][0], GRAY.T)


def test_a_prediction_lies_on_the_picture_that_a_viewer_shows(tmp_path: Path) -> None:
    gray = np.zeros((12, 16), np.uint8)
    gray[:3, :5] = 255
    Image.fromarray(gray).save(tmp_path / "a.jpg", exif=exif(6), quality=95)
    image = LoadImageAndLabeld(1)({"image": str(tmp_path / "a.jpg")})["image"]
    path = SavePredictions(tmp_path, overlay=False).save(image, (image > 128).float().as_tensor())
    with Image.open(path) as saved:
        assert not saved.getexif()
        np.testing.assert_array_equal(np.asarray(saved), np.rot90(gray > 0, -1))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_of_16_bits_a_channel_keeps_them(tmp_path: Path, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 16, channels), dtype=np.uint16)
    array = read_array(png16(tmp_path / "a.png", deep))[0]
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, deep.T)
    turned = read_array(png16(tmp_path / "b.png", deep, orientation=6))[0]
    np.testing.assert_array_equal(turned, np.rot90(deep, -1).T)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_16_bits_a_channel_keeps_them(tmp_path: Path, order: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 16, 3), dtype=np.uint16)
    np.testing.assert_array_equal(read_array(tiff(tmp_path / "a.tif", deep, order))[0], deep.T)


@pytest.mark.parametrize("tags", [{"t274": 6}, {"t262": 5}, {"t338": 1}], ids=["turned", "CMYK", "premultiplied"])
def test_colours_that_cannot_be_read_with_all_bits_are_refused(tmp_path: Path, tags: dict[str, int]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 12, 3 if "t274" in tags else 4), dtype=np.uint16)
    with pytest.raises(ValueError, match=r"a\.tif: cannot be read with all of its 16 bits per channel"):
        read_array(tiff(tmp_path / "a.tif", deep, **tags))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_a_tiff_has_every_number_that_it_stores(tmp_path: Path, dtype: str) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = np.array([-1.5, 0, 3e38, 7], kind)
    else:
        values = np.array([np.iinfo(kind).min, 0, 1, np.iinfo(kind).max], kind)
    for order in "<>" if dtype != "u4" else "<":
        array = read_array(tiff(tmp_path / "a.tif", values.reshape(2, 2), order))[0]
        np.testing.assert_array_equal(array[0], values.reshape(2, 2).T)


def test_greys_whose_white_is_0_are_shown_so(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_array(tiff(tmp_path / "a.tif", GRAY, t262=0))[0][0], 255 - GRAY.T)
    deep = GRAY.astype(np.uint16) * 200
    np.testing.assert_array_equal(read_array(tiff(tmp_path / "b.tif", deep, t262=0))[0][0], 65535 - deep.T)


def test_one_bit_is_false_or_true(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(GRAY > 128).save(tmp_path / name)
        array = read_array(tmp_path / name)[0]
        assert array.dtype == bool
        np.testing.assert_array_equal(array[0], GRAY.T > 128)


def test_printers_colours_become_rgb(tmp_path: Path) -> None:
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0, 0, 0] = 255  # cyan
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "a.tif")
    array = read_array(tmp_path / "a.tif")[0]
    assert array[:, 0, 0].tolist() == [0, 255, 255]
    assert array[:, 1, 1].tolist() == [255, 255, 255]


def test_lab_colours_become_rgb(tmp_path: Path) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    flat = Image.new("RGB", (4, 4), (200, 60, 60))
    ImageCms.profileToProfile(flat, *profiles, outputMode="LAB").save(tmp_path / "a.tif")
    assert np.abs(read_array(tmp_path / "a.tif")[0][:, 0, 0].astype(int) - (200, 60, 60)).max() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_several_pages_are_refused(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(random_picture(k)) for k in range(3)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=rf"{name}: holds 3 pages"):
        read_array(tmp_path / name)


def test_the_previews_of_a_camera_are_no_pages(tmp_path: Path) -> None:
    photo = Image.fromarray(COLOUR)
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photo.resize((4, 4))])
    assert read_array(tmp_path / "a.jpg")[0].shape == (3, 16, 12)


def test_another_format_under_a_pictures_name_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png", format="GIF")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as \.png .*of another kind"):
        read_array(tmp_path / "a.png")


def test_a_jpeg_called_png_is_read(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png", format="JPEG")
    assert read_array(tmp_path / "a.png")[0].shape == (1, 16, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [np.uint8(1), np.uint16(257)])
def test_a_plain_grey_tiff_is_turned_as_the_same_png_is(tmp_path: Path, scale: np.integer, orientation: int) -> None:
    Image.fromarray(GRAY * scale).save(tmp_path / "a.tif", exif=exif(orientation))
    Image.fromarray(GRAY).save(tmp_path / "a.png", exif=exif(orientation))
    tiff_array, png_array = (read_array(tmp_path / name)[0] for name in ("a.tif", "a.png"))
    np.testing.assert_array_equal(tiff_array, png_array * scale)


def test_a_large_picture_is_read_without_a_warning_of_pillows(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    program = (
        "from PIL import Image\n"
        "from flemme_monai.data.reading import read_array\n"
        f"Image.MAX_IMAGE_PIXELS = 100\nread_array({str(tmp_path / 'a.png')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Decompression" not in done.stderr
