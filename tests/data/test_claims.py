"""A small file that claims a large image is refused before memory is taken."""

from __future__ import annotations

import gzip
import resource
import struct
import time
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_files import random_picture, write_nifti, write_nrrd, write_picture
from PIL import Image

from flemme_monai.data import claims
from flemme_monai.data.claims import check_compressed
from flemme_monai.data.reading import read_array
from flemme_monai.data.refusal import RefusalError

VOLUME = random_picture(size=(6, 7, 8))
CLAIMED = "3000 3000 300"


def nifti(path: Path) -> None:
    write_nifti(path, VOLUME.astype(np.float32))
    content = path.read_bytes()
    plain = bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    struct.pack_into("<4h", plain, 40, 3, 3000, 3000, 300)
    path.write_bytes(gzip.compress(bytes(plain)) if path.suffix == ".gz" else plain)


def pair(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(VOLUME, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<4h", content, 40, 3, 3000, 3000, 300)
    path.write_bytes(content)


def nrrd(path: Path, encoding: str = "raw", voxels: bytes = b"\0" * 100) -> None:
    header = f"NRRD0004\ntype: float\ndimension: 3\nsizes: {CLAIMED}\nencoding: {encoding}\nendian: little\n\n"
    path.write_bytes(header.encode() + voxels)


def detached_nrrd(path: Path) -> None:
    path.with_suffix(".raw").write_bytes(b"\0" * 100)
    path.write_text(
        f"NRRD0004\ntype: float\ndimension: 3\nsizes: {CLAIMED}\nencoding: raw\ndata file: a.raw\n", encoding="utf-8"
    )


def meta(path: Path, compressed: bool = False, source: str = "LOCAL", extra: str = "") -> None:
    header = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = {compressed}\n{extra}"
    header += f"DimSize = {CLAIMED}\nElementType = MET_FLOAT\nElementDataFile = {source}\n"
    voxels = zlib.compress(b"\0" * 100) if compressed else b"\0" * 100
    if source == "LOCAL":
        path.write_bytes(header.encode() + voxels)
    else:
        path.write_bytes(header.encode())
        (path.parent / source).write_bytes(voxels)


def png(path: Path) -> None:
    write_picture(path, random_picture())
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, 16, 12000, 12000)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)


def chunk(path: Path) -> None:
    """A whole PNG whose pixels' chunk claims 2 GB."""
    write_picture(path, random_picture())
    content = path.read_bytes()
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + struct.pack(">I", 2**31) + content[at + 4 :])


def jpeg(path: Path) -> None:
    write_picture(path, random_picture())
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", content, place, 12000, 12000)
    path.write_bytes(content)


def bmp(path: Path) -> None:
    write_picture(path, random_picture(size=(12, 16, 3)))
    content = bytearray(path.read_bytes())
    struct.pack_into("<ii", content, 18, 12000, 12000)
    path.write_bytes(content)


def tiff(path: Path, compression: str = "raw") -> None:
    write_picture(path, random_picture(size=(12, 16, 3)), compression=compression)
    content = bytearray(path.read_bytes())
    ifd = struct.unpack_from("<I", content, 4)[0]
    for index in range(struct.unpack_from("<H", content, ifd)[0]):
        entry = ifd + 2 + 12 * index
        if struct.unpack_from("<H", content, entry)[0] in (256, 257):
            struct.pack_into("<HII", content, entry + 2, 4, 1, 12000)
    path.write_bytes(content)


FILES = {
    "a.nii": nifti,
    "a.nii.gz": nifti,
    "a.hdr": pair,
    "raw/a.nrrd": nrrd,
    "gzip/a.nrrd": lambda path: nrrd(path, "gzip", gzip.compress(b"\0" * 100)),
    "hex/a.nrrd": lambda path: nrrd(path, "hex"),
    "ascii/a.nrrd": lambda path: nrrd(path, "ascii"),
    "detached/a.nrrd": detached_nrrd,
    "a.mha": meta,
    "zip/a.mha": lambda path: meta(path, True),
    "size/a.mha": lambda path: meta(path, True, extra="CompressedDataSize = 9000000000\n"),
    "a.mhd": lambda path: meta(path, source="a.raw"),
    "zip/a.mhd": lambda path: meta(path, True, source="a.zraw"),
    "a.png": png,
    "a.jpg": jpeg,
    "a.bmp": bmp,
    "a.tif": tiff,
    "lzw/a.tif": lambda path: tiff(path, "tiff_lzw"),
    "deflate/a.tif": lambda path: tiff(path, "tiff_adobe_deflate"),
}


@pytest.mark.parametrize("name", FILES)
def test_more_is_claimed_than_held(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    FILES[name](path)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match=rf"{path.name}: cannot be read: its header claims") as error:
        read_array(path)
    assert "\n" not in str(error.value)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    )  # kB; the claims are of 144 MB to 11 GB
    assert time.monotonic() - start < 5


def test_a_chunk_that_is_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    chunk(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as \.png: its chunk 'IDAT' claims 2\.15 GB while"):
        read_array(tmp_path / "a.png")


def test_a_picture_beyond_the_limit_of_pixels_is_refused_in_our_words(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match=r"a\.png: is too large for a picture \(.*cut it into tiles"):
        read_array(write_picture(tmp_path / "a.png", random_picture()))


def test_a_label_map_of_nothing_is_read_though_it_is_compressed_a_thousandfold(tmp_path: Path) -> None:
    plain = write_nifti(tmp_path / "a.nii", np.zeros((300, 300, 900), np.uint8))
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert 1000 < 81_000_000 / path.stat().st_size < 1032
    assert read_array(path)[0].shape == (1, 300, 300, 900)


@pytest.fixture
def counted(monkeypatch) -> None:
    """Small claims are counted as large ones are."""
    monkeypatch.setattr(claims, "_SMALL", 0)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("parts", [1, 3])
def test_gzip_files_hold_what_their_streams_become(tmp_path: Path, parts: int) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\0" * 100_000) * parts)
    check_compressed(100_000 * parts, str(path), "voxels")
    with pytest.raises(RefusalError, match=rf"holds at most {100 * parts} kB"):
        check_compressed(100_000 * parts + 1, str(path), "voxels")


@pytest.mark.usefixtures("counted")
def test_a_zlib_stream_is_counted_from_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(b"header" + zlib.compress(b"\0" * 5_000_000))
    check_compressed(5_000_000, str(path), "voxels", start=6, gzipped=False)
    with pytest.raises(RefusalError, match="holds at most 5 MB"):
        check_compressed(5_000_001, str(path), "voxels", start=6, gzipped=False)


@pytest.mark.usefixtures("counted")
def test_a_damaged_stream_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\0" * 100_000)[:-40])
    with pytest.raises(RefusalError, match="compressed data are damaged"):
        check_compressed(80_000, str(path), "voxels")


@pytest.mark.usefixtures("counted")
def test_whole_files_pass_the_count(tmp_path: Path) -> None:
    zeros = np.zeros((40, 40, 40), np.uint8)
    for path in (write_nifti(tmp_path / "a.nii.gz", zeros), write_nrrd(tmp_path / "a.nrrd", zeros)):
        assert read_array(path)[0].shape == (1, 40, 40, 40)
